// Theme, contents and links into tables.
(() => {
  const root = document.documentElement, button = document.getElementById("theme");
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a file may not be allowed to */ } };
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const tell = () => button.setAttribute("aria-pressed", String(dark()));
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  button.setAttribute("aria-label", "Dark colours");
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; remember(root.dataset.theme); tell(); });
  tell();

  const contents = document.querySelector(".contents");
  for (const head of document.querySelectorAll("main > section > h2[id]")) {
    if (head.id === "weak") continue;
    const link = document.createElement("a");
    link.href = `#${head.id}`;
    link.textContent = head.textContent;
    contents.append(link);
  }
  contents.hidden = contents.childElementCount < 2;
})();
