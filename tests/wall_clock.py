# Copyright 2026 svlm maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""A wall clock that jumps, for one process only: a small library, built here, before libc's clock."""

from __future__ import annotations

from pathlib import Path
import shutil
import struct
import subprocess

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile long long *jump_s;

__attribute__((constructor)) static void open_jump(void) {
  int file = open(getenv("WALL_CLOCK_JUMP"), O_RDONLY);
  void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof *jump_s, PROT_READ, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) abort();
  jump_s = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, now), of_day = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (!failed && of_day && jump_s) now->tv_sec += *jump_s;
  return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec ns;
  int failed = clock_gettime(CLOCK_REALTIME, &ns);
  now->tv_sec = ns.tv_sec;
  now->tv_usec = ns.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *now) {
  struct timespec ns;
  clock_gettime(CLOCK_REALTIME, &ns);
  if (now) *now = ns.tv_sec;
  return ns.tv_sec;
}
"""


class WallClock:
    """What a process that is started with `environment` takes for the time of day."""

    def __init__(self, folder: Path) -> None:
        """Build the library; `why_no_wall_clock` says whether that can be done."""
        folder.mkdir(parents=True, exist_ok=True)
        source, library = folder / "wall_clock.c", folder / "wall_clock.so"
        source.write_text(_SOURCE)
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
        self._jump = folder / "jump"
        self._jump.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_JUMP": str(self._jump)}

    def jump(self, to_s: int) -> None:
        """Show from now on the real time and this many seconds."""
        with self._jump.open("r+b") as file:  # the same page, which the process has mapped
            file.write(struct.pack("q", to_s))


def why_no_wall_clock() -> str:
    """Why a clock cannot be made to jump here, "" if it can."""
    return "" if shutil.which("cc") else "no C compiler (cc)"
