// Pairs in random order, the real photo first or second at random. The state is kept, so that a reload loses nothing.
const data = JSON.parse(document.getElementById('data').textContent);
const key = `colorizer-blind-${data.id}`, at = id => document.getElementById(id);
const random = n => crypto.getRandomValues(new Uint32Array(1))[0] % n;

function fresh() {
  const order = data.pairs.map((_, i) => i);
  for (let i = order.length - 1; i > 0; i--) { const j = random(i + 1); [order[i], order[j]] = [order[j], order[i]]; }
  return { order, first: order.map(() => random(2) === 0), answers: [] };   // first[n]: in the nth pair the real one comes first
}

const fits = s => s?.order?.length === data.pairs.length && s.answers?.length <= s.order.length;

function stored() {
  try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }   // no storage, or something else in it
}

// The tab's own history comes first. Chromium now and then gives a page from the disk an empty storage for one load.
function read() {
  const own = history.state?.key === key ? history.state.state : null;
  return [own, stored()].find(fits) ?? fresh();
}

let state = read();
function keep() {
  history.replaceState({ key, state }, '');
  try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* the answers still count until the tab is closed */ }
}

function wilson(k, n) {   // 95 % interval of a share (Wilson 1927)
  const z = 1.96, p = k / n, m = (p + z * z / (2 * n)) / (1 + z * z / n), r = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
  return [m - r, m + r].map(x => Math.round(100 * Math.min(1, Math.max(0, x))));
}

const right = n => state.answers[n] === (state.first[n] ? 'first' : 'second');

function result() {
  const n = state.answers.length, fooled = state.answers.filter((_, i) => !right(i)).length;
  return { page: 'colorizer blind test', version: 1, system: data.system, protocol: data.protocol, pairs: data.pairs.length, answered: n, fooled,
    answers: state.answers.map((chosen, i) => ({ file: data.pairs[state.order[i]].file, real: state.first[i] ? 'first' : 'second', chosen, right: right(i) })) };
}

function show() {
  const n = state.answers.length, all = data.pairs.length, over = n >= all;
  at('test').hidden = over;
  at('result').hidden = !over;
  at('save').disabled = n === 0;
  if (over) return finish();
  const pair = data.pairs[state.order[n]], images = document.querySelectorAll('.pair img');
  images[state.first[n] ? 0 : 1].src = pair.real;
  images[state.first[n] ? 1 : 0].src = pair.made;
  at('where').textContent = `Pair ${n + 1} of ${all}`;
  at('done').max = all;
  at('done').value = n;
}

function finish() {
  const r = result(), [low, high] = wilson(r.fooled, r.answered);
  at('verdict').textContent = `In ${r.fooled} of ${r.answered} pairs you took the computer's picture for the real one: ${Math.round(100 * r.fooled / r.answered)} % (95 %: ${low} to ${high} %). ` +
    `Blind guessing would give 50 %. The system was ${data.system}.`;
  const list = document.createElement('ol');
  for (const a of r.answers) list.append(Object.assign(document.createElement('li'), { textContent: `${a.file}: the real one was ${a.real}, you chose ${a.chosen}${a.right ? '' : ', fooled'}` }));
  at('answers').replaceChildren(list);
}

function choose(side) {
  if (state.answers.length >= data.pairs.length) return;
  state.answers.push(side);
  keep();
  show();
}

at('first').addEventListener('click', () => choose('first'));
at('second').addEventListener('click', () => choose('second'));
document.addEventListener('keydown', e => {
  const side = { 1: 'first', ArrowLeft: 'first', 2: 'second', ArrowRight: 'second' }[e.key];
  if (side && !e.repeat && !e.ctrlKey && !e.altKey && !e.metaKey) { e.preventDefault(); choose(side); }
});
at('again').addEventListener('click', () => {
  if (state.answers.length && !confirm('Throw away your answers?')) return;
  state = fresh();
  keep();
  show();
});
at('save').addEventListener('click', () => {
  const a = document.createElement('a');
  a.href = URL.createObjectURL(new Blob([JSON.stringify(result(), null, 1)], { type: 'application/json' }));
  a.download = 'blind-test.json';
  a.click();
  URL.revokeObjectURL(a.href);
});
keep();
show();
