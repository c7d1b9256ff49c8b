// The page's part of the demo: photos come in, pictures and a file come out. worker.js does the work.
import {slider} from './slider.js'

const demo = document.querySelector('.cz-demo')
const find = o => demo.querySelector(o)
const file = find('.cz-file'), compare = find('.cz-slider'), edge = compare.querySelector('input'), saturation = find('#cz-saturation')
const [before, after] = compare.querySelectorAll('canvas')
const [download, type] = find('.cz-save').children
const most = () => Number(demo.dataset.maxPixels) || 60e6  // pixels; more are scaled down, since each takes 12 bytes and more while a file is written
const NONE = 'This browser cannot run the network: it lacks WebAssembly with SIMD, module workers or off-screen canvases. Any browser from 2023 or later has them.'

let worker, picked = 0, job = 0, name = '', note = '', size, notes, painting = false

// A WebAssembly module with one SIMD instruction; a browser that takes it can run ONNX Runtime
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]
function able() {
  try { return typeof OffscreenCanvas === 'function' && typeof createImageBitmap === 'function' && WebAssembly.validate(new Uint8Array(SIMD)) }
  catch { return false }
}

function state(o) {
  const inside = demo.contains(document.activeElement) && document.activeElement !== file
  demo.dataset.state = o
  if (inside && !document.activeElement.checkVisibility?.()) demo.focus({preventScroll: true})  // what had the focus is gone
}
function fail(message) {
  find('.cz-error').textContent = message
  if (demo.dataset.state === 'working') state('empty')
}
const status = text => find('.cz-status').textContent = text
function busy(text, share) {
  find('.cz-working span').textContent = text
  if (share === undefined) find('progress').removeAttribute('value')
  else find('progress').value = share
}

function start() {
  if (worker) return worker
  worker = new Worker(new URL('worker.js', import.meta.url), {type: 'module'})
  worker.onmessage = ({data}) => on[data.type](data)
  worker.onerror = e => { e.preventDefault(); worker = null; fail('The demo could not be started. Reload the page to try again.') }
  return worker
}
const ask = (kind, rest = {}, transfer = []) => start().postMessage({type: kind, ...rest}, transfer)

function paint(canvas, bitmap) {
  canvas.width = bitmap.width
  canvas.height = bitmap.height
  canvas.getContext('bitmaprenderer').transferFromImageBitmap(bitmap)
}
function sweep() {
  const set = v => { edge.value = v; edge.dispatchEvent(new Event('input')) }, begin = performance.now(), mine = job
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return set(50)
  let last = 100
  const step = now => {
    if (mine !== job || Number(edge.value) !== last) return  // another photo, or somebody took hold of it
    const t = Math.min(1, Math.max(0, now - begin)/1100)  // a frame's time may lie before the call
    set(last = Math.round(10*(100 - 50*(1 - (1 - t)**3)))/10)
    if (t < 1) requestAnimationFrame(step)
  }
  set(100)
  requestAnimationFrame(step)
}

const on = {
  progress({loaded, total}) {
    const mb = n => Math.round(n/1e6)
    if (loaded < total) busy(`Fetching the network, once: ${mb(loaded)} of ${mb(total)} MB`, loaded/total)
    else busy('Colouring')
  },
  before({id, bitmap, original, inColour, ...rest}) {
    if (id !== job) return bitmap.close()
    size = rest.size
    demo.style.setProperty('--ratio', size[0]/size[1])
    paint(before, bitmap)
    compare.dataset.shown = ''
    notes = [note]
    if (size[0] !== original[0]) notes.push(`Made smaller: ${original.join(' × ')} pixels are more than this browser can hold.`)
    if (inColour) notes.push('It was in colour already; only its light was used.')
  },
  after({id, bitmap, seconds}) {
    if (id !== job) return bitmap.close()
    paint(after, bitmap)
    if (seconds === undefined) return repainted()
    state('result')
    if (document.activeElement === demo) edge.focus({preventScroll: true})
    status([`Coloured: ${size.join(' × ')} pixels in ${seconds.toFixed(1)}\u00a0s.`, ...notes].filter(Boolean).join(' '))
    sweep()
  },
  saved({id, blob}) {
    download.disabled = false
    if (id !== job) return
    const a = document.createElement('a')
    a.href = URL.createObjectURL(blob)
    a.download = `${name.replace(/\.[^.]*$/, '') || 'photo'}-colour.${blob.type === 'image/png' ? 'png' : 'jpg'}`
    a.click()
    setTimeout(() => URL.revokeObjectURL(a.href), 60_000)
    status(`Saved as ${a.download}.`)
  },
  failed({id, message}) {
    download.disabled = painting = false
    if (id === job) fail(`That did not work: ${message}. Reload the page and try again.`)
  },
}

// Decoding. The browser turns the photo upright and brings its colours to sRGB.
async function decode(blob) {
  try { return await createImageBitmap(blob) } catch {}
  const img = new Image()  // knows more formats in some browsers, and copes with larger photos
  img.src = URL.createObjectURL(blob)
  try {
    await img.decode()
    const s = Math.min(1, Math.sqrt(most()/(img.naturalWidth*img.naturalHeight)))
    return await createImageBitmap(img, {resizeWidth: Math.round(img.naturalWidth*s), resizeHeight: Math.round(img.naturalHeight*s), resizeQuality: 'high'})
  } finally { URL.revokeObjectURL(img.src) }
}
async function trouble(blob) {
  if (!blob.size) return 'the file is empty'
  const head = new Uint8Array(await blob.slice(0, 12).arrayBuffer()), text = String.fromCharCode(...head)
  if (/^....ftyp(hei|hev|mif|msf)/s.test(text)) return 'this browser cannot read HEIC photos. Safari can; or save it as JPEG first'
  if (/^(II\*\0|MM\0\*)/.test(text)) return 'this browser cannot read TIFF. Save it as JPEG or PNG first'
  return 'not an image that this browser can read, or damaged. Give a JPEG, PNG or WebP file'
}

async function colour(blob, called, remark = '') {
  const mine = ++picked
  find('.cz-error').textContent = ''
  if (!able()) return fail(NONE)
  let bitmap
  try { bitmap = await decode(blob) }
  catch { return mine === picked && fail(`${called}: ${await trouble(blob)}.`) }
  if (mine !== picked) return bitmap.close()
  const id = ++job
  name = called
  note = remark
  delete compare.dataset.shown
  edge.value = 100
  edge.dispatchEvent(new Event('input'))
  saturation.value = facts.saturation
  level()
  painting = download.disabled = false
  status(`Colouring ${called} …`)
  busy('Colouring')
  state('working')
  ask('photo', {id, bitmap, most: most(), saturation: Number(saturation.value)}, [bitmap])
}

// Saturation: only one repaint is under way at a time, and after it the latest value
let asked
const level = () => {
  find('output').textContent = `${Math.round(saturation.value*100)} %`
  saturation.setAttribute('aria-valuetext', find('output').textContent)
}
function repaint() {
  painting = true
  ask('saturation', {id: job, value: asked = Number(saturation.value)})
}
function repainted() {
  painting = false
  if (asked !== Number(saturation.value)) repaint()
}
saturation.addEventListener('input', () => { level(); if (!painting) repaint() })

download.addEventListener('click', () => {
  download.disabled = true
  status('Writing the file …')
  ask('save', {id: job, value: Number(saturation.value), format: type.value})
})

// Ways in: picked, dropped anywhere on the page, pasted, or one of the examples
function take(files) {
  if (files.length) colour(files[0], files[0].name || 'photo', files.length > 1 ? `One at a time: this is the first of ${files.length}.` : '')
}
file.addEventListener('change', () => { take([...file.files]); file.value = '' })  // so that the same photo can be picked again
let depth = 0
const holds = e => [...e.dataTransfer?.types ?? []].includes('Files')
addEventListener('dragenter', e => { if (holds(e)) { depth++; demo.dataset.over = ''; warm() } })
addEventListener('dragleave', e => { if (holds(e) && !--depth) delete demo.dataset.over })
addEventListener('dragover', e => holds(e) && e.preventDefault())
addEventListener('drop', e => {
  if (!holds(e)) return
  e.preventDefault()
  depth = 0
  delete demo.dataset.over
  demo.scrollIntoView({block: 'nearest'})
  take([...e.dataTransfer.files])
})
addEventListener('paste', e => {
  const files = [...e.clipboardData?.files ?? []]
  if (!files.length || e.target.closest?.('input[type=text], input[type=search], textarea, [contenteditable]')) return
  demo.scrollIntoView({block: 'nearest'})
  take(files)
})

// Network and runtime are some 20 MB: too much for everybody who only reads the page. They are fetched when a photo is chosen, and a
// little earlier where somebody is about to: a pointer that rests on what can be clicked, a focus, a file dragged over the page.
function warm() {
  if (!navigator.connection?.saveData && able()) ask('warm')
}
let resting
for (const o of [find('.cz-drop .cz-button'), find('.cz-examples')]) {
  o.addEventListener('pointerenter', e => { if (e.pointerType === 'mouse') resting = setTimeout(warm, 150) })
  o.addEventListener('pointerleave', () => clearTimeout(resting))
}
for (const o of [file, find('.cz-examples')]) o.addEventListener('focusin', warm, {once: true})

const facts = await (await fetch(new URL('model.json', import.meta.url), {cache: 'no-cache'})).json()
saturation.value = facts.saturation
level()
for (const o of facts.examples) {
  const button = document.createElement('button'), img = new Image()
  img.src = new URL(o.file, import.meta.url)
  img.alt = `Colour ${o.alt}`
  button.type = 'button'
  button.append(img)
  button.addEventListener('click', async () => colour(await (await fetch(img.src)).blob(), `${o.name}.jpg`, `Photo: ${o.credit}.`))
  find('.cz-examples').append(button)
}
slider(compare)
compare.dataset.ready = ''
demo.dataset.ready = ''
if (!able()) fail(NONE)
