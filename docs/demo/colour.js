// The arithmetic of colorizer.inference and colorizer.upsampling, for pixels in a browser. Same names, same formulas, same rounding:
// tests/test_demo.py compares the results. Luma and chroma planes are {w, h, data}, data a Float32Array, row by row.

const plane = (w, h, data = new Float32Array(w*h)) => ({w, h, data})

// Python's round(): halves go to the even neighbour
const round = x => { const f = Math.floor(x), d = x - f; return d > .5 || d === .5 && f % 2 ? f + 1 : f }

export function renderSize(width, height, size) {
  const short = Math.min(width, height), long = Math.max(width, height)
  let a = Math.max(32, Math.min(size, 2*short))
  a = Math.min(a, Math.sqrt(4*a*a*short/long))
  let b = Math.max(32, round(a*long/short/32)*32)
  a = Math.max(32, round(a/32)*32)
  b = Math.min(b, Math.max(32, Math.floor(Math.floor(4*size*size/a)/32)*32))
  return width < height ? [a, b] : [b, a]
}

// BT.601 luma of RGBA pixels
export function luma({width: w, height: h, data: rgba}) {
  const out = plane(w, h), y = out.data
  for (let i = 0, j = 0; i < y.length; i++, j += 4) y[i] = (.299*rgba[j] + .587*rgba[j + 1] + .114*rgba[j + 2])/255
  return out
}

// Pillow's resampling: which pixels each new one is made of, and with which weights
const sinc = x => x === 0 ? 1 : Math.sin(Math.PI*x)/(Math.PI*x)
const FILTERS = {
  lanczos: [3, x => Math.abs(x) < 3 ? sinc(x)*sinc(x/3) : 0],
  cubic: [2, x => { x = Math.abs(x); return x < 1 ? (1.5*x - 2.5)*x*x + 1 : x < 2 ? ((-.5*x + 2.5)*x - 4)*x + 2 : 0 }],
  box: [.5, x => x > -.5 && x <= .5 ? 1 : 0],
}
function weights(from, to, filter, end = from) {  // `end`: where the part of it that is taken ends, which may lie within a pixel
  const [reach, f] = FILTERS[filter], scale = end/to, wide = Math.max(scale, 1), taps = []
  for (let i = 0; i < to; i++) {
    const centre = (i + .5)*scale, first = Math.max(0, Math.trunc(centre - reach*wide + .5))
    const last = Math.min(from, Math.trunc(centre + reach*wide + .5)), w = new Float64Array(last - first)
    let sum = 0
    for (let k = 0; k < w.length; k++) sum += w[k] = f((k + first - centre + .5)/wide)
    for (let k = 0; k < w.length; k++) w[k] /= sum
    taps.push([first, w])
  }
  return taps
}
function resizeX({w, h, data}, to, filter, end) {
  const taps = weights(w, to, filter, end), out = plane(to, h)
  for (let i = 0; i < to; i++) {
    const [first, ks] = taps[i]
    for (let y = 0; y < h; y++) {
      let sum = 0
      for (let k = 0, j = y*w + first; k < ks.length; k++, j++) sum += ks[k]*data[j]
      out.data[y*to + i] = sum
    }
  }
  return out
}
function resizeY({w, h, data}, to, filter, end) {
  const taps = weights(h, to, filter, end), out = plane(w, to), sum = new Float64Array(w)
  for (let i = 0; i < to; i++) {
    const [first, ks] = taps[i]
    sum.fill(0)
    for (let k = 0; k < ks.length; k++) for (let x = 0, j = (first + k)*w; x < w; x++, j++) sum[x] += ks[k]*data[j]
    out.data.set(sum, i*w)
  }
  return out
}
const resize = (p, w, h, filter, endX = p.w, endY = p.h) => resizeY(resizeX(p, w, filter, endX), h, filter, endY)

// Means of blocks of n×n pixels; blocks at the edge may be smaller
function reduce(p, n) {
  if (n === 1) return p
  const out = plane(Math.ceil(p.w/n), Math.ceil(p.h/n)), sum = new Float64Array(out.w)
  for (let i = 0; i < out.h; i++) {
    const rows = Math.min(n, p.h - i*n)
    sum.fill(0)
    for (let y = i*n; y < i*n + rows; y++) for (let x = 0, j = y*p.w, b = 0; b < out.w; b++)
      for (const end = Math.min(x + n, p.w); x < end; x++, j++) sum[b] += p.data[j]
    for (let b = 0; b < out.w; b++) out.data[i*out.w + b] = sum[b]/(rows*Math.min(n, p.w - b*n))
  }
  return out
}

// Luma as the network sees it: blocks first, which is quick, then Lanczos
export function smallLuma(y, [w, h]) {
  const n = Math.max(1, Math.min(Math.floor(y.w/(4*w)), Math.floor(y.h/(4*h))))
  const out = resize(reduce(y, n), w, h, 'lanczos', y.w/n, y.h/n)
  for (let i = 0; i < out.data.length; i++) out.data[i] = Math.min(1, Math.max(0, out.data[i]))
  return out
}

// Mean over 3×3 pixels; the border is repeated
function mean3(a, w, h) {
  const t = new Float64Array(a.length), out = new Float64Array(a.length)
  for (let y = 0; y < h; y++) {
    const up = Math.max(0, y - 1)*w, down = Math.min(h - 1, y + 1)*w
    for (let x = 0; x < w; x++) t[y*w + x] = a[up + x] + a[y*w + x] + a[down + x]
  }
  for (let y = 0; y < h; y++) for (let x = 0, r = y*w; x < w; x++)
    out[r + x] = (t[r + Math.max(0, x - 1)] + t[r + x] + t[r + Math.min(w - 1, x + 1)])/9
  return out
}

// How steeply chroma goes with luma around each pixel: the guided filter's slope, shrunk where luma explains little
export function slopes(guide, chroma, eps = 2e-4, trust = 4) {
  const {w, h} = guide, g = Float64Array.from(guide.data), mean = a => mean3(a, w, h), each = f => g.map((_, i) => f(i))
  const c = chroma.map(o => Float64Array.from(o.data)), mg = mean(g), mc = c.map(mean)
  const cov = c.map((o, k) => { const m = mean(each(i => g[i]*o[i])); return mean(each(i => m[i] - mg[i]*mc[k][i])) })
  const variance = (a, m) => { const s = mean(each(i => a[i]*a[i])); return mean(each(i => Math.max(0, s[i] - m[i]*m[i]))) }
  const v = variance(g, mg), vc = c.map((o, k) => variance(o, mc[k]))
  const r2 = each(i => (cov[0][i]**2 + cov[1][i]**2)/(v[i]*(vc[0][i] + vc[1][i]) + 1e-9))
  return cov.map(o => plane(w, h, Float32Array.from(o, (x, i) => x/(v[i] + eps)*Math.min(1, r2[i])**trust)))
}

// Photo and chroma put together: RGBA in, RGBA out. `guide`: luma at the chroma's size.
export function merge({width, height, data: rgba}, chroma, guide, saturation = 1, out = new Uint8ClampedArray(rgba.length)) {
  let planes = [...chroma.map(o => plane(o.w, o.h, o.data.map(x => x*saturation))), guide]
  if (guide.h > height || guide.w > width)
    planes = planes.map(o => resize(o, Math.min(guide.w, width), Math.min(guide.h, height), 'box'))
  planes.push(...slopes(planes[2], planes.slice(0, 2)))
  const {h} = planes[0], wide = planes.map(o => resizeX(o, width, 'cubic').data), mix = wide.map(() => new Float32Array(width))
  const cubic = FILTERS.cubic[1]
  for (let row = 0; row < height; row++) {
    const pos = (row + .5)*h/height - .5, src = Math.floor(pos) - 1
    const ks = [0, 1, 2, 3].map(k => cubic(pos - src - k)), at = [0, 1, 2, 3].map(k => Math.min(h - 1, Math.max(0, src + k))*width)
    for (let p = 0; p < 5; p++) {
      const a = wide[p], m = mix[p], [k0, k1, k2, k3] = ks, [r0, r1, r2, r3] = at
      for (let x = 0; x < width; x++) m[x] = k0*a[r0 + x] + k1*a[r1 + x] + k2*a[r2 + x] + k3*a[r3 + x]
    }
    const [mcb, mcr, low, acb, acr] = mix
    for (let x = 0, i = row*width*4; x < width; x++, i += 4) {
      const y = (.299*rgba[i] + .587*rgba[i + 1] + .114*rgba[i + 2])/255, detail = y - low[x]
      const r = (mcr[x] + acr[x]*detail)*1.402, b = (mcb[x] + acb[x]*detail)*1.772, g = -(.299*r + .114*b)/.587
      const up = Math.max(r, g, b, 1e-6), down = Math.max(-Math.min(r, g, b), 1e-6)
      const s = 255*Math.min((1 - y)/up, y/down, 1), light = y*255 + .5  // colours that RGB can't show are made paler; luma stays
      out[i] = light + r*s | 0
      out[i + 1] = light + g*s | 0
      out[i + 2] = light + b*s | 0
      out[i + 3] = rgba[i + 3]
    }
  }
  return out
}

// How much of the colour doesn't follow from the luma: near 0 for grey photos and evenly toned prints (colorizer.files.unexplained_colour)
export function unexplainedColour({data: rgba}) {
  const bins = Array.from({length: 16}, () => [0, 0, 0]), n = rgba.length/4, c = []
  for (let i = 0; i < rgba.length; i += 4) {
    const y = (.299*rgba[i] + .587*rgba[i + 1] + .114*rgba[i + 2])/255, bin = bins[Math.min(15, Math.trunc(y*16))]
    const cb = (rgba[i + 2]/255 - y)/1.772, cr = (rgba[i]/255 - y)/1.402
    bin[0]++, bin[1] += cb, bin[2] += cr
    c.push([bin, cb, cr])
  }
  return Math.sqrt(c.reduce((sum, [bin, cb, cr]) => sum + (cb - bin[1]/bin[0])**2 + (cr - bin[2]/bin[0])**2, 0)/n)
}
