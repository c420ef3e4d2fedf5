// A long table waits for the library, which may be in any output of the notebook; without it, the plain table stays.
window.nbextLibrary ??= {};
const library = window.nbextLibrary;
library.promise ??= new Promise(resolve => { library.resolve = resolve; });
const {ITable, set_or_remove_dark_class} = await library.promise;
set_or_remove_dark_class();
document.querySelectorAll(".nbext-table.long").forEach(box => {
  box.classList.remove("long");
  box.style.maxHeight = "none";
  new ITable(box.querySelector("table"), {order: [], pageLength: 25, lengthMenu: [10, 25, 50, 100], autoWidth: false});
});
