// SPDX-License-Identifier: Apache-2.0
// Each screen's main job, as people do it.
import assert from 'node:assert/strict';
import {after, afterEach, test} from 'node:test';
import {Client, api, base, behindNginx, close, closeClients, expectAccessible, expectClean, expectFits, forgive, logIn, newPage, pageOf, ticksUntil, until} from './browser.mjs';

after(close);
afterEach(() => {
  closeClients();
  expectClean();
});

const session = /\/sessions\/[0-9A-Z]{26}$/;
const pathOf = page => new URL(page.url()).pathname;

/// Those that the navigation leads to, and those behind them.
async function screens(page) {
  await page.goto(`${base}/`);
  const paths = await page.$$eval('nav a', links => links.map(link => link.getAttribute('href')));
  assert.ok(paths.includes('/fleet') && paths.includes('/configuration'), paths.join());
  await page.goto(`${base}/sessions?q=alice%40partner.example`);
  const story = await page.getAttribute('tbody tr:first-child a', 'href');
  paths.push('/rules/add', '/rules/import', '/rules/why?address=198.51.100.7', '/rules/history', '/configuration/snippets/haproxy');
  return [...paths, '/sessions?q=alice%40partner.example', '/sessions?q=nobody%40nowhere.example', story, `${story}/end`, '/nothing'];
}

test('a wrong password is refused, and the right one opens the overview', async () => {
  const page = await newPage();
  await page.goto(`${base}/sessions`);
  assert.equal(pathOf(page), '/login');
  await expectAccessible(page);
  await page.fill('#user', 'admin');
  await page.fill('#password', 'no such horse');
  await page.click('button:has-text("Log in")');
  assert.match(await page.textContent('[role=alert]'), /is wrong/);
  forgive(/status of 401/);
  await logIn(page, 'admin');
  assert.equal(await page.textContent('h1'), 'Overview');
});

test('how soon the first paint is, is measured', async context => {
  const page = await pageOf('admin');
  const paints = [];
  for (let round = 0; round < 3; ++round) {
    await page.goto(`${base}/`);
    paints.push(await until(() => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime), 'a paint'));
  }
  context.diagnostic(`first contentful paint: ${paints.map(paint => paint.toFixed(0)).join(', ')} ms`);
});

test('one search finds who sent a mail, and how that went', async () => {
  const page = await pageOf('operator');
  await page.goto(`${base}/sessions`);
  await page.fill('[type=search]', 'orders@partner.example');
  await page.press('[type=search]', 'Enter');
  await page.waitForSelector('text=Taken for a sender');
  const time = page.locator('tbody time').first();
  const utc = await time.getAttribute('title');
  assert.match(utc, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
  const shown = (await time.textContent()).replace(' ', 'T');
  assert.equal((new Date(`${shown}Z`) - new Date(utc.replace(' UTC', 'Z'))) / 3_600_000 % 24, new Date().getMonth() > 2 && new Date().getMonth() < 9 ? 2 : 1, 'Berlin');
  assert.match(await page.textContent('footer'), /Europe\/Berlin/);
  await page.click('tbody a');
  assert.match(pathOf(page), session);
  for (const words of ['dave@example.net', '198.51.100.7', 'queue id']) assert.ok(await page.locator('main', {hasText: words}).count(), words);
});

test('all of that by keys', async () => {
  const page = await newPage();
  const {keyboard} = page;
  await page.goto(`${base}/login`);
  await page.waitForFunction(() => document.activeElement.id === 'user');
  await keyboard.type('operator');
  await keyboard.press('Tab');
  await keyboard.type(process.env.CONSOLE_PASSWORD);
  await keyboard.press('Enter');
  await page.waitForURL(`${base}/`);
  await keyboard.press('/');
  await page.waitForURL(`${base}/sessions#q`);
  await page.waitForFunction(() => document.activeElement.id === 'q');
  await keyboard.type('partner.example/');
  assert.equal(await page.inputValue('#q'), 'partner.example/', 'it is a character there');
  await page.fill('#q', '@partner.example');
  await keyboard.press('Enter');
  await page.waitForSelector('text=Taken for');
  await keyboard.press('/');
  await keyboard.press('ArrowDown');
  await keyboard.press('ArrowDown');
  const row = () => page.evaluate(() => [...document.querySelectorAll('tbody tr')].indexOf(document.activeElement.closest('tr')));
  assert.equal(await row(), 1);
  await keyboard.press('ArrowDown');
  assert.equal(await row(), 1, 'it is the last');
  await keyboard.press('ArrowUp');
  assert.equal(await row(), 0);
  await keyboard.press('Enter');
  await page.waitForURL(session);
});

test('a session under way comes by itself, keeps the focus, and is ended', async () => {
  const page = await pageOf('operator');
  await page.clock.install();
  await page.goto(`${base}/sessions/live`);
  const client = new Client('smtp', '198.51.100.98');
  await client.line('220 ');
  await client.say('EHLO slow.partner.example', '250 ');
  const link = page.locator('tr:has-text("198.51.100.98") a');
  await ticksUntil(page, () => link.count(), 'the session');
  const isMarked = () => link.evaluate(element => element.marked === true);
  const mark = () => link.evaluate(element => { element.marked = true; });

  await mark();
  await link.focus();
  await ticksUntil(page, async () => !await isMarked(), 'another list');
  assert.ok(await link.evaluate(element => element === document.activeElement), 'the focus stays in its row');

  // What is pressed stays until it is released: else the click would be lost.
  await mark();
  const box = await link.boundingBox();
  await page.mouse.move(box.x + 5, box.y + 5);
  await page.mouse.down();
  await page.clock.runFor(20_000);
  assert.ok(await isMarked());
  await page.mouse.move(box.x + 5, 5);
  await page.mouse.up();
  await ticksUntil(page, async () => !await isMarked(), 'another list');

  await page.click('button:has-text("Pause")');
  assert.equal(await page.getAttribute('button:has-text("Pause")', 'aria-pressed'), 'true');
  await mark();
  await page.clock.runFor(20_000);
  assert.ok(await isMarked());
  await link.press('Enter');
  await page.waitForURL(/\/end$/);
  await page.click('button:has-text("End session")');
  await client.line('421 ');
  await page.waitForURL(`${base}/sessions/live`);
  await ticksUntil(page, async () => await link.count() === 0, 'its end');
});

test('plots are drawn while the page is seen, and not otherwise', async () => {
  const page = await newPage();
  await page.clock.install();
  await logIn(page, 'viewer');
  const asked = [];
  page.on('request', request => asked.push(new URL(request.url()).pathname));
  const rate = page.locator('[data-now]').first();
  await ticksUntil(page, async () => /^\d+\.\d$/.test(await rate.textContent()), 'a rate');
  assert.equal(await page.locator('[data-plots] canvas').count(), 2);
  await page.evaluate(() => Object.defineProperty(document, 'hidden', {configurable: true, get: () => true}));
  asked.length = 0;
  await page.clock.runFor(20_000);
  assert.deepEqual(asked, []);
  await page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await until(() => asked.includes('/'), 'the question of a page that is seen again');
});

test('a session that is over leads to the log-in', async () => {
  const page = await pageOf('viewer');
  await page.clock.install();
  await page.goto(`${base}/sessions/live`);
  await page.context().clearCookies();
  await ticksUntil(page, () => pathOf(page) === '/login', 'the log-in');
});

test('no screen has a barrier, in light, dark, narrow or enlarged', async () => {
  const page = await pageOf('admin');
  for (const path of await screens(page)) {
    await page.emulateMedia({colorScheme: 'light'});
    await page.goto(base + path);
    await expectAccessible(page);
    await page.emulateMedia({colorScheme: 'dark'});
    await expectAccessible(page, ['color-contrast']);
    await page.setViewportSize({width: 360, height: 740});
    await expectFits(page);
    await expectAccessible(page, ['target-size', 'scrollable-region-focusable', 'color-contrast']);
    await page.setViewportSize({width: 550, height: 400});  // 1100 by 800 at 200 %
    await expectFits(page);
    await page.setViewportSize({width: 1100, height: 800});
  }
  forgive(/status of 404/);
});

test('what peers, users and colleagues write stays text', async () => {
  const evil = '<img src=x onerror=alert(1)>';
  const note = `"'><script>alert(2)</script>${evil}\u202e`;
  const smtp = new Client('smtp', '198.51.100.66');
  await smtp.line('220 ');
  await smtp.say(`EHLO ${evil}`, '250 ');
  await smtp.say(`MAIL FROM:<"${evil}"@evil.example>`, '250 ');
  await smtp.say(`RCPT TO:<"${evil}"@example.net>`, '\\d\\d\\d ');
  await smtp.say('RCPT TO:<bob@example.net>', '250 ');
  const imap = new Client('imap', '198.51.100.66');
  await imap.line('\\* OK ');
  await imap.say(`a LOGIN "${evil}" "x"`, 'a NO ');
  const added = await api('POST', '/rules', {network: '192.0.2.200', verdict: 'deny', note, owner: evil, ticket: evil});
  assert.equal(added.added, 1);

  const page = await pageOf('admin');
  await page.goto(`${base}/sessions/live`);
  await page.locator('td', {hasText: evil}).first().waitFor();
  const live = await page.getAttribute('tr:has-text("198.51.100.66") a', 'href');
  await smtp.say('DATA', '354 ');
  await smtp.say(`Message-ID: <${evil}@evil.example>\r\nSubject: x\r\n\r\nx\r\n.`, '250 ');
  await smtp.say('QUIT', '221 ');
  await imap.say('b LOGOUT', 'b OK ');
  await until(async () => (await api('GET', '/sessions?client=198.51.100.66')).sessions.length >= 2, 'the sessions');

  const search = `/sessions?q=${encodeURIComponent(evil)}`;
  await page.goto(`${base}/sessions?q=198.51.100.66`);
  const stories = await page.$$eval('tbody a', links => links.map(link => link.getAttribute('href')));
  let seen = 0;
  for (const path of [...await screens(page), search, '/sessions?q=198.51.100.66', ...stories, live, `/rules?note=${encodeURIComponent(evil)}`]) {
    await page.goto(base + path);
    assert.equal(await page.locator('img, main script').count(), 0, path);
    assert.ok(!(await page.content()).includes('\u202e'), path);
    if ((await page.textContent('main')).includes('onerror')) ++seen;
  }
  assert.ok(seen >= 4, `seen on ${seen} screens`);
  const login = await newPage();
  await login.goto(`${base}/login`);
  await login.fill('#user', note);
  await login.fill('#password', note);
  await login.click('button:has-text("Log in")');
  await login.waitForSelector('[role=alert]');
  forgive(/status of 40\d/);
});

test('a rule is shown before it is added, and undone', async () => {
  const page = await pageOf('operator');
  await page.goto(`${base}/rules/add`);
  await page.fill('#networks', '192.0.2.210');
  await page.check('#verdict-deny');
  await page.fill('#note', 'from a browser');
  await page.click('button:has-text("Preview")');
  await page.waitForSelector('h1:has-text("Add this?")');
  await expectAccessible(page);
  assert.equal((await api('GET', '/rules?match=192.0.2.210')).found, 0);
  await page.click('button:has-text("Add")');
  await page.waitForSelector('h1:has-text("Change ")');
  await page.goto(`${base}/rules?match=192.0.2.210`);
  await page.click('a:has-text("Edit")');
  await page.fill('#note', 'by somebody');
  await page.click('button:has-text("Preview")');
  await page.click('button:has-text("Change")');
  await page.waitForSelector('ins:has-text("by somebody")');
  await page.goto(`${base}/rules?match=192.0.2.210`);
  await page.click('a:has-text("Remove")');
  await expectAccessible(page);
  await page.click('button:has-text("Remove")');
  await page.waitForSelector('h1:has-text("Change ")');
  await page.click('a:has-text("Undo this change")');
  await page.click('button:has-text("Undo")');
  await page.waitForSelector('ins:has-text("by somebody")');
  assert.equal((await api('GET', '/rules?match=192.0.2.210')).rules[0].note, 'by somebody');
});

test('rules that are marked are removed together', async () => {
  const page = await pageOf('operator');
  for (const network of ['192.0.2.231', '192.0.2.232', '192.0.2.233']) await api('POST', '/rules', {network, verdict: 'deny', note: 'together'});
  await page.goto(`${base}/rules?note=together`);
  await page.check('[aria-label="Select 192.0.2.231"]');
  await page.focus('[aria-label="Select 192.0.2.233"]');
  await page.keyboard.press('Space');
  await page.click('button:has-text("Remove selected")');
  await page.waitForSelector('h1:has-text("Remove 2 rules?")');
  await expectAccessible(page);
  await page.click('button:has-text("Remove")');
  await page.waitForSelector('h1:has-text("Change ")');
  assert.deepEqual((await api('GET', '/rules?note=together')).rules.map(rule => rule.network), ['192.0.2.232/32']);
  await page.click('a:has-text("Undo this change")');
  await page.click('button:has-text("Undo")');
  await page.waitForSelector('ins:has-text("192.0.2.233")');
  assert.equal((await api('GET', '/rules?note=together')).found, 3);
});

test('a list is uploaded', async () => {
  const page = await pageOf('operator');
  await page.goto(`${base}/rules/import`);
  await page.setInputFiles('#list', {name: 'list.txt', mimeType: 'text/plain', buffer: Buffer.from('deny 192.0.2.220\ndeny 192.0.2.221 # a\n')});
  await page.click('button:has-text("Preview")');
  await page.waitForSelector('ins:has-text("deny 192.0.2.221")');
  await expectAccessible(page);
  await page.click('button:has-text("Import")');
  await page.waitForSelector('h1:has-text("Change ")');
  assert.equal((await api('GET', '/rules?match=192.0.2.220')).found, 1);
});

test('behind nginx it is as by itself, with a cookie for TLS alone', async () => {
  const page = await newPage({baseURL: behindNginx});
  await logIn(page, 'operator', behindNginx);
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.secure, cookie.httpOnly, cookie.sameSite], ['__Host-mailgate', true, true, 'Strict']);
  await page.goto(`${behindNginx}/sessions/live`);
  const client = new Client('smtp', '198.51.100.97');
  await client.line('220 ');
  await page.click('tr:has-text("198.51.100.97") a');
  await page.click('button:has-text("End session")');
  await client.line('421 ');
  await page.click('button:has-text("Log out")');
  await page.waitForURL(`${behindNginx}/login`);
  await page.goto(`${behindNginx}/`);
  assert.equal(pathOf(page), '/login');
});
