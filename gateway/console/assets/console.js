// SPDX-License-Identifier: Apache-2.0
// What pages gain by scripts. Each of them works without.
'use strict';
(() => {
  const period = 2000;
  const shown = 150;  // points of a plot: five minutes
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'local time';
  const two = number => String(number).padStart(2, '0');
  const clock = date => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const day = date => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

  // ---- times: in the viewer's zone, in UTC where the pointer is on them

  function localise(root) {
    for (const time of root.querySelectorAll('time[datetime]:not([title])')) {
      const date = new Date(time.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      time.title = `${date.toISOString().replace('T', ' ').replace(/\.\d+Z$/, '')} UTC`;
      time.textContent = `${day(date)} ${clock(date)}`;
    }
    for (const name of root.querySelectorAll('[data-zone]')) name.textContent = zone;
  }

  // ---- keys: "/" to the search, arrows through rows, Enter is the link's own

  const links = () => [...document.querySelectorAll('main tbody tr')].map(row => row.querySelector('a[href]')).filter(Boolean);

  function toSearch() {
    const search = document.querySelector('main input[type=search]');
    if (!search) return location.assign('/sessions#q');
    search.focus();
    search.select();
  }

  function toRow(step) {
    const all = links();
    const here = all.findIndex(link => link.closest('tr').contains(document.activeElement));
    const next = all[here < 0 ? (step > 0 ? 0 : -1) : here + step];
    if (!next) return false;
    next.focus();
    return true;
  }

  document.addEventListener('keydown', event => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
    const field = event.target.closest('input, textarea, select, [role=listbox]');
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (event.key === '/' && !field) {
      event.preventDefault();
      toSearch();
    } else if (step && (!field || (field.type === 'search' && step > 0)) && toRow(step)) {
      event.preventDefault();
    }
  });

  // ---- what refreshes itself while the page is seen

  const live = () => document.querySelectorAll('[data-live]');
  let paused = false;
  let notice = null;

  function say(text) {
    if (notice && notice.textContent !== text) notice.textContent = text;
  }

  // What is pressed or marked is not taken away, and what is paused stays, whatever was asked for before.
  let pressed = false;
  const isHeld = () => paused || pressed || document.getSelection().type === 'Range';
  document.addEventListener('pointerdown', () => { pressed = true; });
  for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => setTimeout(() => { pressed = false; }));

  function tick() {
    if (document.hidden || isHeld()) return;
    for (const part of live()) htmx.trigger(part, 'refresh');
  }

  /// Who reads may stop it (WCAG 2.2.2).
  function addPause() {
    const heading = document.querySelector('h1');
    const line = document.createElement('p');
    const button = document.createElement('button');
    notice = document.createElement('span');
    line.className = 'refreshing';
    button.className = 'plain';
    button.type = 'button';
    button.textContent = 'Pause';
    button.setAttribute('aria-pressed', 'false');
    notice.className = 'warning';
    notice.setAttribute('role', 'status');
    button.addEventListener('click', () => {
      paused = !paused;
      button.setAttribute('aria-pressed', String(paused));
      tick();
    });
    line.append(button, notice);
    heading.after(line);
  }

  const silence = since => `The gateway does not answer. What is shown is of ${clock(since)}.`;
  let answered = new Date();

  function onAnswer() {
    answered = new Date();
    say('');
  }

  // Looking at a page is no use of the session: it ends when nobody has asked for anything.
  document.addEventListener('htmx:configRequest', event => {
    if (event.target.matches('[data-live]')) event.detail.headers['X-Refresh'] = 'auto';
  });
  document.addEventListener('htmx:beforeSwap', event => {
    if (event.target.matches('[data-live]') && isHeld()) event.detail.shouldSwap = false;
  });
  for (const failure of ['htmx:sendError', 'htmx:responseError', 'htmx:timeout'])
    document.addEventListener(failure, () => say(silence(answered)));
  document.addEventListener('htmx:afterSettle', () => {
    onAnswer();
    if (plots.length > 0) measure();
  });
  document.addEventListener('htmx:load', event => localise(event.target));

  // ---- plots

  const plots = [];
  let before = null;

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  class Plot {
    constructor(figure) {
      this.place = figure.querySelector('div');
      this.now = figure.querySelector('[data-now]');
      this.total = this.now.dataset.now;  // the names of totals, which are added up
      this.colour = figure.dataset.colour;
      this.data = [[], []];
      this.draw();
    }

    draw() {
      if (this.chart) this.chart.destroy();
      const axis = {stroke: colour('--soft'), grid: {stroke: colour('--line'), width: 1}, ticks: {show: false}, font: '12px system-ui, sans-serif'};
      this.chart = new uPlot({
        width: Math.max(this.place.clientWidth, 100), height: 140, legend: {show: false},
        cursor: {x: false, y: false, drag: {x: false, y: false}, points: {size: 6}},
        padding: [8, 28, 0, 0],
        scales: {x: {range: (chart, least, most) => this.span(least, most)}, y: {range: (chart, least, most) => [0, Math.max(1, most * 1.1)]}},
        axes: [{...axis, size: 28, space: 70, values: (chart, seconds) => seconds.map(one => clock(new Date(one * 1000)))},
               {...axis, size: 44, space: 30}],
        series: [{}, {stroke: colour(this.colour), fill: `${colour(this.colour)}26`, width: 2, points: {show: false}}],
        hooks: {setCursor: [() => this.tell()]},
      }, this.data, this.place);
    }

    /// A minute at first, then all that is kept.
    span(least, most) {
      const end = most || Date.now() / 1000;
      return [Math.min(least || end, end - 60), end];
    }

    resize() {
      this.chart.setSize({width: Math.max(this.place.clientWidth, 100), height: 140});
    }

    add(seconds, rate) {
      this.data[0].push(seconds);
      this.data[1].push(rate);
      if (this.data[0].length > shown) for (const values of this.data) values.shift();
      this.chart.setData(this.data);
      this.tell();
    }

    tell() {
      const at = this.chart?.cursor.idx ?? this.data[0].length - 1;
      const rate = this.data[1][at];
      if (rate === undefined) return;
      const when = this.chart.cursor.idx == null ? '' : ` at ${clock(new Date(this.data[0][at] * 1000))}`;
      this.now.textContent = rate.toFixed(1) + when;
    }
  }

  /// The totals of a part that has come, and when they were that; a gateway that was restarted begins anew.
  function measure() {
    const now = document.getElementById('now').dataset;
    if (before && before.started === now.started && Number(now.at) > Number(before.at))
      for (const plot of plots) {
        const sum = of => plot.total.split(' ').reduce((all, name) => all + Number(of[name]), 0);
        plot.add(now.at / 1000, (sum(now) - sum(before)) / (now.at - before.at) * 1000);
      }
    before = {...now};
  }

  function addPlots() {
    const figures = document.querySelectorAll('[data-plots] figure');
    if (figures.length === 0 || typeof uPlot === 'undefined') return;
    document.querySelector('[data-plots]').hidden = false;
    plots.push(...[...figures].map(figure => new Plot(figure)));
    new ResizeObserver(() => plots.forEach(plot => plot.resize())).observe(document.querySelector('[data-plots]'));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => plots.forEach(plot => plot.draw()));
  }

  localise(document);
  addPlots();
  if (live().length > 0) {
    addPause();
    if (plots.length > 0) measure();
    setInterval(tick, period);
    document.addEventListener('visibilitychange', tick);
  }
})();
