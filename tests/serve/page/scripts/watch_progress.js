// Keep what the progress panel shows.
() => {
  const text = (id) => document.getElementById(id).textContent;
  window.said = new Set();
  new MutationObserver(() => window.said.add(`${text("progress-title")}: ${text("progress-text")}`))
    .observe(document.getElementById("progress"), { subtree: true, childList: true, characterData: true });
}
