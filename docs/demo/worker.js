// The network and the arithmetic, away from the page, which stays alive meanwhile. Messages in:
//   warm · photo {id, bitmap, most} · saturation {id, value} · save {id, value, type}
// Messages out: progress {loaded, total} · before, after {id, …} · saved {id, blob} · failed {id, message}
import {luma, merge, renderSize, smallLuma, unexplainedColour} from './colour.js'

const PREVIEW = 2048  // long side in pixels of what the page shows; what is saved has the photo's size
const facts = fetch(new URL('model.json', import.meta.url), {cache: 'no-cache'}).then(r => r.json())
facts.catch(() => {})
const say = (type, rest = {}, transfer = []) => postMessage({type, ...rest}, transfer)

let ort, loading, photo, newest = 0

async function fetched(name, version, bytes, progress) {
  const url = new URL(name, import.meta.url)
  url.searchParams.set('v', version)  // a new model must not be taken for the old one in the browser's cache
  const answer = await fetch(url)
  if (!answer.ok) throw Error(`the server answered ${answer.status} for ${name}`)
  const out = new Uint8Array(bytes), reader = answer.body.getReader()
  let n = 0
  for (let part; !(part = await reader.read()).done; progress(part.value.length)) {
    if (n + part.value.length > bytes) break
    out.set(part.value, n)
    n += part.value.length
  }
  if (n !== bytes) throw Error(`${name} came only in part`)
  return out
}

// Runtime and model, once; after a failure the next photo tries again
const session = () => loading ??= load().catch(e => { loading = null; throw e })
async function load() {
  ort ??= await import('./ort.wasm.min.mjs')
  const {runtime, model} = await facts, total = runtime.bytes + model.bytes
  let loaded = 0
  const progress = n => say('progress', {loaded: loaded += n, total})
  const [wasm, network] = await Promise.all([runtime, model].map(o => fetched(o.file, o.version, o.bytes, progress)))
  say('progress', {loaded: total, total})
  Object.assign(ort.env.wasm, {numThreads: 1, wasmBinary: wasm.buffer})  // threads would ask for headers that static servers don't send
  ort.env.logLevel = 'error'
  return ort.InferenceSession.create(network, {executionProviders: ['wasm']})
}

// A canvas that really holds w×h pixels, or undefined: browsers have limits, and some keep quiet about it
function canvas(w, h) {
  try {
    const c = new OffscreenCanvas(w, h).getContext('2d', {willReadFrequently: true})
    c.fillRect(w - 1, h - 1, 1, 1)
    if (!c.getImageData(w - 1, h - 1, 1, 1).data[3]) return
    c.clearRect(0, 0, w, h)
    c.imageSmoothingQuality = 'high'
    return c
  } catch { return }
}

function drawn(bitmap, most) {
  const {width, height} = bitmap
  for (let s = Math.min(1, Math.sqrt(most/(width*height))); s > .01; s *= .75) {
    const w = Math.max(1, Math.round(width*s)), h = Math.max(1, Math.round(height*s)), c = canvas(w, h)
    if (!c) continue
    c.drawImage(bitmap, 0, 0, w, h)
    try { return [c, c.getImageData(0, 0, w, h)] } catch { continue }  // no memory for so many pixels
  }
  throw Error('there is not enough memory for this photo')
}

function smaller(c, most) {
  const {width, height} = c.canvas, s = most/Math.max(width, height)
  if (s >= 1) return c.getImageData(0, 0, width, height)
  const w = Math.max(1, Math.round(width*s)), h = Math.max(1, Math.round(height*s)), d = canvas(w, h)
  d.drawImage(c.canvas, 0, 0, w, h)
  return d.getImageData(0, 0, w, h)
}

function bitmapOf({width, height}, pixels) {
  const c = new OffscreenCanvas(width, height)
  c.getContext('2d').putImageData(new ImageData(pixels, width, height), 0, 0)
  return c
}
const show = (type, id, shown, chroma, guide, saturation, more = {}) => {
  const bitmap = bitmapOf(shown, merge(shown, chroma, guide, saturation)).transferToImageBitmap()
  say(type, {id, bitmap, ...more}, [bitmap])
}

async function start({id, bitmap, most, saturation}) {
  const original = [bitmap.width, bitmap.height], [c, full] = drawn(bitmap, most)
  bitmap.close()
  const shown = Math.max(full.width, full.height) > PREVIEW ? smaller(c, PREVIEW) : full
  const inColour = unexplainedColour(smaller(c, 128)) > (await facts).in_colour
  const guide = smallLuma(luma(full), renderSize(full.width, full.height, (await facts).size))
  const grey = [0, 1].map(() => ({...guide, data: new Float32Array(guide.data.length)}))
  show('before', id, shown, grey, guide, 0, {size: [full.width, full.height], original, inColour})
  const network = await session()
  if (id !== newest) return
  const begin = performance.now()
  const found = await network.run({luma: new ort.Tensor('float32', guide.data, [1, 1, guide.h, guide.w])})
  const n = guide.w*guide.h, chroma = [0, 1].map(k => ({w: guide.w, h: guide.h, data: Float32Array.from(found.chroma.data.subarray(k*n, (k + 1)*n))}))
  if (id !== newest) return
  photo = {id, full, shown, guide, chroma}
  show('after', id, shown, chroma, guide, saturation, {seconds: (performance.now() - begin)/1000})
}

async function save({id, value, format}) {
  const {full, chroma, guide} = photo, c = bitmapOf(full, merge(full, chroma, guide, value))
  if (format === 'image/jpeg') {  // which has no transparent parts: they become white
    const x = c.getContext('2d')
    x.globalCompositeOperation = 'destination-over'
    x.fillStyle = '#fff'
    x.fillRect(0, 0, c.width, c.height)
  }
  say('saved', {id, blob: await c.convertToBlob({type: format, quality: .95})})
}

const handle = {
  warm: () => session().catch(() => {}),  // if it fails, the photo will say so
  photo: o => o.id === newest ? start(o) : o.bitmap.close(),
  saturation: o => o.id === photo?.id && show('after', o.id, photo.shown, photo.chroma, photo.guide, o.value),
  save: o => o.id === photo?.id && save(o),
}
let queue = Promise.resolve()
onmessage = ({data}) => {
  if (data.type === 'photo') newest = data.id
  const work = async () => { try { await handle[data.type](data) } catch (e) { say('failed', {id: data.id, message: String(e?.message ?? e).split('\n')[0]}) } }
  if (data.type === 'warm') work()
  else queue = queue.then(work)
}
