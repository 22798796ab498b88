// SPDX-License-Identifier: Apache-2.0
// Pictures of the screens, for docs/console and for whoever has changed them to look at: tests/console/pictures.sh.
import {Client, base, close, closeClients, newPage, pageOf} from './browser.mjs';

const folder = process.env.CONSOLE_PICTURES;
const quiet = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

async function take(page, name, options = {}) {
  await page.screenshot({path: `${folder}/${name}.png`, animations: 'disabled', ...options});
}

/// Some come and go, some stay, some are refused.
async function bustle(seconds) {
  for (let tick = 0; tick < seconds * 10; ++tick) {
    const busy = 4 + 3 * Math.sin(tick / 25) + Math.random() * 2;
    if (Math.random() * 10 < busy) {
      const client = new Client('smtp', tick % 9 === 0 ? '192.0.2.66' : `198.51.100.${tick % 200}`);
      client.line('[25]').then(() => client.say('QUIT', '221 ')).catch(() => {});
    }
    await quiet(100);
  }
}

async function linger() {
  const stay = [['198.51.100.20', 'mail.partner.example', 'invoices@partner.example'], ['203.0.113.24', 'mta3.newsletter.example', 'bounce-4713@newsletter.example']];
  for (const [address, helo, sender] of stay) {
    const client = new Client('smtp', address);
    await client.line('220 ');
    await client.say(`EHLO ${helo}`, '250 ');
    await client.say(`MAIL FROM:<${sender}>`, '250 ');
  }
}

const page = await pageOf('admin');
await bustle(50);
await linger();
await quiet(2_500);
await take(page, 'overview', {fullPage: true});
await page.emulateMedia({colorScheme: 'dark'});
await quiet(500);
await take(page, 'overview-dark', {fullPage: true});
await page.emulateMedia({colorScheme: 'light'});
await page.goto(`${base}/sessions/live`);
await quiet(500);
await take(page, 'under-way');
await page.goto(`${base}/sessions?q=${encodeURIComponent('@partner.example')}&gateways=all`);
await take(page, 'sessions');
await page.click('tbody tr:last-child a');
await page.waitForLoadState();
await take(page, 'session', {fullPage: true});
for (const [name, path] of [['rules', '/rules'], ['rules-add', '/rules/add'], ['rules-history', '/rules/history'], ['servers', '/servers'],
  ['fleet', '/fleet'], ['configuration', '/configuration']]) {
  const response = await page.goto(base + path);
  if (response.ok()) await take(page, name, {fullPage: name !== 'configuration'});
}
await page.setViewportSize({width: 360, height: 740});
await page.emulateMedia({colorScheme: 'dark'});
await page.goto(`${base}/sessions`);
await take(page, 'narrow');
const login = await newPage();
await login.goto(`${base}/login`);
await take(login, 'login');
closeClients();
await close();
