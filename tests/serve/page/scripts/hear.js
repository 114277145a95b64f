// Keep what the live region says.
() => {
  const live = document.getElementById("live");
  window.heard = [];
  new MutationObserver(() => window.heard.push(live.textContent)).observe(live, { childList: true, characterData: true });
}
