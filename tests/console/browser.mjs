// SPDX-License-Identifier: Apache-2.0
// A browser that fails whatever a page of the console must not do: run what a peer has sent, load from elsewhere, be stopped by
// its own policy, write an error into the browser's console.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import net from 'node:net';

const require = createRequire(`${process.env.CONSOLE_MODULES}/`);
const {chromium} = require('playwright-core');
const axe = require('axe-core');

export const base = process.env.CONSOLE;
export const behindNginx = process.env.CONSOLE_NGINX;
const slack = Number(process.env.CONSOLE_SLACK);
const paths = {smtp: Number(process.env.CONSOLE_SMTP), imap: Number(process.env.CONSOLE_IMAP)};

const browser = await chromium.launch({executablePath: process.env.CHROMIUM, chromiumSandbox: process.getuid() !== 0, args: ['--disable-gpu']});
export const close = () => browser.close();

// Each is told by its screen, so that the end of a test says where.
let offences = [];
export function expectClean() {
  const found = offences;
  offences = [];
  assert.deepEqual(found, []);
}
/// Chromium writes what a status above 400 is an error for.
export function forgive(pattern) {
  const before = offences.length;
  offences = offences.filter(one => !pattern.test(one));
  assert.notEqual(offences.length, before, `${pattern} was expected`);
}

export async function newPage(options = {}) {
  const context = await browser.newContext({
    viewport: {width: 1100, height: 800}, locale: 'en-GB', timezoneId: 'Europe/Berlin', ignoreHTTPSErrors: true, ...options});
  context.setDefaultTimeout(10_000 * slack);
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', event => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const allowed = options.baseURL ?? base;
  context.on('request', request => {
    if (!request.url().startsWith(`${allowed}/`) && !request.url().startsWith('data:')) offences.push(`loads ${request.url()}`);
  });
  const page = await context.newPage();
  const note = what => offences.push(`${new URL(page.url(), base).pathname}: ${what}`);
  page.on('console', message => ['error', 'warning'].includes(message.type()) && note(message.text()));
  page.on('pageerror', error => note(error.message));
  page.on('dialog', dialog => {
    note(`runs a script: ${dialog.message()}`);
    dialog.dismiss();
  });
  return page;
}

export async function logIn(page, role, site = base) {
  await page.goto(`${site}/login`);
  await page.fill('#user', role);
  await page.fill('#password', process.env.CONSOLE_PASSWORD);
  await Promise.all([page.waitForURL(`${site}/`), page.click('button:has-text("Log in")')]);
  return page;
}

/// Lets the page's clock run until it is so: what refreshes itself does that every two seconds. The clock is installed.
export const ticksUntil = (page, condition, what) => until(async () => {
  await page.clock.runFor(2_000);
  return condition();
}, what);

const cookies = {};
/// A page of somebody who has logged in, on the overview; by the form but once.
export async function pageOf(role) {
  const page = await newPage();
  if (cookies[role]) {
    await page.context().addCookies(cookies[role]);
    await page.goto(`${base}/`);
  } else {
    await logIn(page, role);
    cookies[role] = await page.context().cookies();
  }
  return page;
}

/// Every finding, whatever its weight; `rules` alone, if there are any.
export async function expectAccessible(page, rules) {
  await page.evaluate(axe.source);
  const {violations} = await page.evaluate(wanted => axe.run(document, wanted ? {runOnly: {type: 'rule', values: wanted}} : {}), rules);
  assert.deepEqual(violations.map(one => `${new URL(page.url()).pathname}: ${one.id}: ${one.nodes.map(node => node.html).join(' ')}`), []);
}

/// No part of it has to be looked for to the right, but within tables.
export async function expectFits(page) {
  const [needed, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(needed <= there, `${new URL(page.url()).pathname} is ${needed} wide in ${there}`);
}

export async function api(method, path, body) {
  const response = await fetch(`${base}/api/v1${path}`, {
    method, body: body && JSON.stringify(body), headers: {Authorization: `Bearer ${process.env.CONSOLE_TOKEN}`, 'Content-Type': 'application/json'}});
  return response.json();
}

const clients = [];
/// They would keep the test from ending.
export const closeClients = () => clients.splice(0).forEach(client => client.socket.destroy());

/// A mail client behind a balancer; what it awaits is the beginning of a line.
export class Client {
  constructor(protocol, address) {
    this.socket = net.connect(paths[protocol], '127.0.0.1');
    this.socket.setEncoding('utf8');
    this.socket.write(`PROXY TCP4 ${address} 203.0.113.10 40000 25\r\n`);
    this.text = '';
    this.waiting = () => {};
    this.socket.on('data', data => {
      this.text += data;
      this.waiting();
    });
    this.socket.on('error', () => {});
    clients.push(this);
  }

  line(beginning) {
    const pattern = new RegExp(`^${beginning}[^\\n]*\\n`, 'm');
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${pattern} in ${this.text}`)), 10_000 * slack);
      this.waiting = () => {
        const found = pattern.exec(this.text);
        if (!found) return;
        clearTimeout(timer);
        this.text = this.text.slice(found.index + found[0].length);
        resolve(found[0]);
      };
      this.waiting();
    });
  }

  say(text, beginning) {
    this.socket.write(`${text}\r\n`);
    return this.line(beginning);
  }
}

export async function until(condition, what) {
  for (const end = Date.now() + 10_000 * slack; Date.now() < end;) {
    const value = await condition();
    if (value) return value;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  throw new Error(`waited for ${what}`);
}
