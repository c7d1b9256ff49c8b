// What scrolls sideways can be reached with the keyboard, too.
const scrollers = document.querySelectorAll('.pst-scrollable-table-container, div.math, .output.text_html, .highlight pre, .cell_output')
const look = () => { for (const o of scrollers) if (o.scrollWidth > o.clientWidth + 1) o.tabIndex = 0; else if (o.tabIndex === 0) o.removeAttribute('tabindex') }
look()
addEventListener('resize', look)
document.fonts?.ready.then(look)
