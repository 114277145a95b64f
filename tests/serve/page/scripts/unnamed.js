// Controls that have no name for those who listen.
() => [...document.querySelectorAll("button, input, select, summary, a[href], canvas[tabindex]")]
  .filter((element) => element.checkVisibility())
  .filter(({ ariaLabel, textContent, labels }) => !(ariaLabel || textContent.trim() || labels?.length))
  .map((element) => element.outerHTML)
