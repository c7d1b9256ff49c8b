// A slider on every card, between two pictures of the card; which two is chosen once for all.
const cards = [...document.querySelectorAll('.card')];
const picture = (card, name) => card.querySelector(`img[data-name="${CSS.escape(name)}"]`);
const selects = ['left', 'right'].map(id => document.getElementById(id));

function make(card) {
  const box = document.createElement('div');
  box.className = 'slider';
  box.innerHTML = '<div class="compare"><img alt=""><img class="over" alt=""><span class="edge"></span><span class="tag left"></span><span class="tag right"></span></div>' +
    '<input type="range" min="0" max="100" value="50">';
  const compare = box.firstChild, range = box.lastChild;
  range.addEventListener('input', () => {
    compare.style.setProperty('--at', range.value + '%');
    say(range);
  });
  card.querySelector('.pictures').before(box);
}

function say(range) {
  const [left, right] = selects.map(s => s.value);
  range.setAttribute('aria-valuetext', `${range.value} % ${left}, the rest ${right}`);
}

function show() {
  for (const card of cards) {
    const images = card.querySelectorAll('.compare img'), tags = card.querySelectorAll('.tag'), range = card.querySelector('input');
    selects.forEach((select, i) => {
      const source = picture(card, select.value);
      images[i].src = source.src;
      images[i].width = source.width;
      images[i].height = source.getAttribute('height');
      tags[i].textContent = select.value;
    });
    range.setAttribute('aria-label', `${card.querySelector('h4').textContent}: ${selects[0].value} on the left, ${selects[1].value} on the right`);
    say(range);
  }
}

if (cards.length) {
  const names = [...cards[0].querySelectorAll('img[data-name]')].map(i => i.dataset.name);
  for (const select of selects) {
    for (const name of names) select.add(new Option(name));
    select.addEventListener('change', show);
  }
  selects[0].value = names[1];
  selects[1].value = names[2];
  cards.forEach(make);
  show();
  document.querySelector('.choice').hidden = false;
}
