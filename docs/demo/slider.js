// Makes every .cz-slider on the page follow the mouse, the finger and the keyboard. The markup, which works without this file
// through `oninput` on its range input where scripts may stand in the page:
//   <div class="cz-slider"><img …><img …><span>Before</span><span>After</span>
//     <input type="range" min="0" max="100" value="50" aria-label="…" oninput="this.parentNode.style.setProperty('--at', this.value)"></div>
export function slider(el) {
  const input = el.querySelector('input[type=range]')
  const [left, right] = [...el.querySelectorAll('span')].map(o => o.textContent.toLowerCase()).concat('before', 'after')
  const follow = () => {
    el.style.setProperty('--at', input.value)
    input.setAttribute('aria-valuetext', `${Math.round(input.value)} % ${left}, ${Math.round(100 - input.value)} % ${right}`)
  }
  const go = e => {
    const {left: x, width} = el.getBoundingClientRect()
    input.value = Math.min(100, Math.max(0, (e.clientX - x)/width*100))
    follow()
  }
  input.addEventListener('input', follow)
  el.addEventListener('pointerdown', e => {  // some browsers let only the thumb be dragged, and a finger should not have to find it
    if (e.button || input.disabled) return
    el.setPointerCapture(e.pointerId)
    e.preventDefault()
    input.focus({preventScroll: true, focusVisible: false})
    go(e)
  })
  el.addEventListener('pointermove', e => el.hasPointerCapture(e.pointerId) && go(e))
  follow()
}
export const sliders = (root = document) => root.querySelectorAll('.cz-slider:not([data-ready])').forEach(el => { el.dataset.ready = ''; slider(el) })
sliders()
