// A click on a header sorts its table: numbers largest first, names from A; a second click reverses.
// Cells sort by the exact values in data-v, and empty cells stay last.
function sortBy(button) {
  const header = button.parentNode;
  const body = header.closest('table').tBodies[0];
  const isText = header.classList.contains('words');
  const order = header.getAttribute('aria-sort');
  const ascending = order ? order === 'descending' : isText;

  const value = (row) => row.cells[header.cellIndex].dataset.v;
  const compare = (first, second) => {
    const a = value(first);
    const b = value(second);
    if (a === '' || b === '') return (a === '') - (b === '');
    const difference = isText ? a.localeCompare(b) : a - b;
    return ascending ? difference : -difference;
  };

  const rows = Array.from(body.rows).sort(compare);
  header.parentNode.querySelectorAll('th').forEach((other) => other.removeAttribute('aria-sort'));
  header.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
  rows.forEach((row) => body.appendChild(row));
}

// Marks what is wider than its box, so that the page can say that it scrolls.
function markWide() {
  document.querySelectorAll('.part').forEach((part) => {
    const box = part.querySelector('.box');
    const wide = box.firstElementChild.offsetWidth > box.clientWidth + 1;
    part.classList.toggle('wide', wide);
    part.classList.toggle('fits', !wide);
    part.classList.toggle('end', box.scrollLeft + box.clientWidth > box.scrollWidth - 2);
  });
}

document.querySelectorAll('th button').forEach((button) => {
  button.addEventListener('click', () => sortBy(button));
});
document.addEventListener('scroll', markWide, true);
window.addEventListener('resize', markWide);
window.addEventListener('load', markWide);
markWide();

// In a frame of another page, such as MLflow's, links to files beside this page lead nowhere.
if (window.top !== window) {
  document.querySelectorAll('.beside').forEach((part) => { part.hidden = true; });
}
