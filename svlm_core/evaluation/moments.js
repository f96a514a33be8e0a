const buttons = document.querySelectorAll(".filter button");
for (const button of buttons) button.addEventListener("click", () => {
  for (const other of buttons) other.setAttribute("aria-pressed", other === button);
  for (const moment of document.querySelectorAll(".moment"))
    moment.hidden = button.value !== "" && !moment.classList.contains("is-" + button.value);
});
addEventListener("hashchange", () => {
  const moment = document.querySelector(location.hash);
  if (moment && moment.hidden) buttons[0].click(), moment.scrollIntoView();
});
