// Lumino looks for this mark before it takes a key for a shortcut.
export default { render({ el }) {
  const mark = (tries) => {
    const list = el.closest(".nbext-panel")?.querySelector("select");
    if (list) list.dataset.lmSuppressShortcuts = "true";
    else if (tries) requestAnimationFrame(() => mark(tries - 1));
  };
  mark(600);
} };
