"""Installs svlm: `pip install .[model]`, or `colcon build` in a ROS 2 workspace."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "svlm_ros"  # ament_python needs the ROS package's name; svlm_core comes along
MODEL = [
    "torch>=2.6",
    "transformers>=5.20,<6",
    "tokenizers>=0.21",
    "safetensors>=0.5",
    "huggingface-hub>=1.0",
]

setup(
    name=NAME,
    version="0.1.0",
    description="Streaming vision-language commentary for robots: constant cost, forever",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    maintainer="svlm maintainers",
    maintainer_email="maintainers@svlm.invalid",
    python_requires=">=3.10",
    packages=find_packages(include=["svlm_core*", "svlm_ros*"]),
    package_data={
        "svlm_core": [
            "checkpoints/tiny/*",
            "evaluation/*.css",
            "evaluation/*.js",
            "page/page.css",
            "page/page.html",
            "training/clip.css",
            "py.typed",
        ],
        "svlm_ros": ["py.typed"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml", "LICENSE"]),
        (
            f"share/{NAME}/launch",
            ["launch/stream.launch.py", "launch/replay.launch.py", "launch/server.launch.py"],
        ),
        (
            f"share/{NAME}/config",
            [
                "config/stream.yaml",
                "config/fastdds.xml",
                "config/commentary_event.schema.json",
                "config/foxglove.json",
            ],
        ),
        (
            f"share/{NAME}/training",
            [
                "training/tiny_world.yaml",
                "training/tiny_adapt.yaml",
                "training/qwen2_5_vl_7b.yaml",
                "training/qwen2_5_vl_7b_qlora.yaml",
                "training/qwen2_5_vl_3b_lora.yaml",
                "training/qwen3_vl_8b.yaml",
            ],
        ),
    ],
    install_requires=[  # what a robot needs that films and listens while the model runs elsewhere
        "numpy>=1.26",
        "av>=14",
        "msgspec>=0.19",
        "opencv-python-headless>=4.12",
        "pyzmq>=26",
        "pyyaml>=6",
        "tqdm>=4.66",
    ],
    extras_require={
        "model": MODEL,
        "ros": [  # only where ROS 2 is not installed already: the same rclpy and DDS from PyPI, x86_64
            "ros-kilted-rclpy[fastrtps]>=9",
            "ros-kilted-sensor-msgs>=5",
            "ros-kilted-std-msgs>=5",
            "ros-kilted-std-srvs>=5",
            "ros-kilted-diagnostic-msgs>=5",
        ],
        "bags": [
            "rosbags>=0.11",
            "lz4>=4",  # these two are in rosbags, and read what it refuses: recordings cut short
            "backports.zstd>=1; python_version < '3.14'",
        ],
        "serve": [*MODEL, "prometheus-client>=0.21"],
        "ray": [*MODEL, "prometheus-client>=0.21", "ray>=2.40"],
        "train": [*MODEL, "accelerate>=1.5", "peft>=0.15"],
        "qlora": ["bitsandbytes>=0.48"],  # weights of four bits; from there on CPUs, too
        "liger": ["liger-kernel>=0.6"],  # trainer.use_liger_kernel
        "deepspeed": ["deepspeed>=0.17"],  # trainer.deepspeed
        "log": ["tensorboard>=2.18", "wandb>=0.19"],  # trainer.report_to
        "cuda": ["flash-attn>=2.7"],
        "quantize": ["torchao>=0.16"],
        "plot": ["matplotlib>=3.8"],
        "eval": [*MODEL, "sacrebleu>=2.4", "rouge-score>=0.1.2"],  # text scores of svlm eval events
        "dev": [
            "flake8>=7",  # with the plugins that ament_flake8 brings on a ROS installation
            "flake8-blind-except>=0.2",
            "flake8-builtins>=2",
            "flake8-class-newline>=1.6",
            "flake8-comprehensions>=3.14",
            "flake8-deprecated>=2.2",
            "flake8-docstrings>=1.7",
            "flake8-import-order>=0.18",
            "flake8-quotes>=3.4",
            "hypothesis>=6.100",
            "import-linter>=2.1",
            "jsonschema>=4.20",
            "matplotlib>=3.8",
            "msgpack>=1.1",
            "mypy>=1.10",
            "psutil>=5.9",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "ros-kilted-ament-flake8>=0.19",
            "ros-kilted-ament-pep257>=0.19",
            "rouge-score>=0.1.2",
            "ruff>=0.6",
            "sacrebleu>=2.4",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": [
            "svlm = svlm_core.cli:main",
            "stream_node = svlm_ros.stream_node:main",
            "camera_node = svlm_ros.camera_node:main",
            "engine_node = svlm_ros.engine_node:main",
        ]
    },
)
