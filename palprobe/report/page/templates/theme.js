// Colours as the system has them, light, or dark; and a mark for the style that scripts run.
const themes = ["", "light", "dark"];
const names = { "": "as the system", light: "light", dark: "dark" };
const button = document.getElementById("theme");
let chosen = 0;

document.documentElement.classList.add("scripted");
button.addEventListener("click", () => {
  chosen = (chosen + 1) % themes.length;
  document.documentElement.dataset.theme = themes[chosen];
  button.textContent = `Colours: ${names[themes[chosen]]}`;
});
// What is folded is printed too, and folded again afterwards.
const unfolded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open]):not([data-items])")) {
    details.open = true;
    unfolded.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of unfolded.splice(0)) details.open = false;
});
