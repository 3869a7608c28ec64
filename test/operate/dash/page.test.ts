/** The page of weft dash in a real browser: what it shows, on which screens, and to whom it is open. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readFiles } from '../../../src/cli/dash.js';
import { DashServer } from '../../../src/operate/dash/server.js';
import type { Status } from '../../../src/operate/status/status.js';
import { until } from '../../control/fakes.js';
import { fullStatus } from '../status/full.js';
import { type Browser, CHROMIUM, launch, type Page, type PageOptions } from './browser.js';

const skip = fs.existsSync(CHROMIUM) ? false : `${CHROMIUM} is missing (the package chromium)`;
/** Where screenshots go, for a look by eye. */
const SHOTS = process.env.WEFT_SHOTS;
const TOKEN = 'a'.repeat(32);
const { resolve } = createRequire(import.meta.url);

/** As an hour of traffic leaves it: counters grow from second to second. */
function at(second: number, more: Partial<Status> = {}): Status {
  const out = 5e8 * second + 2e8 * Math.sin(second / 9);
  const [one, two] = fullStatus.peers;
  return {
    ...fullStatus,
    uptimeSeconds: 1000 + second,
    counters: {
      ...fullStatus.counters,
      outbound_out_bytes: out,
      outbound_out_packets: out / 1400,
      inbound_out_bytes: out / 3,
      inbound_out_packets: out / 2800,
    },
    drops: { unknown_sender: 1200 + 7 * second, foreign_vni: 3 },
    peers: [
      {
        ...one!,
        seen: { ...one!.seen, sentBytes: out, receivedBytes: out / 3, heardSecondsAgo: 1 },
      },
      two!,
    ],
    ...more,
  };
}

const WELL = { verdict: { state: 'well', text: '2 peers' }, findings: [] } as const;

describe('the page', { skip, timeout: 600_000 }, () => {
  let server: DashServer;
  let port: number;
  let browser: Browser;
  let page: Page;
  let outside: string[];

  before(async () => {
    server = new DashServer({ token: TOKEN, files: readFiles() });
    port = await server.listen(0);
    for (let second = 0; second <= 120; second += 1) server.tell(at(second), 1.7e9 + second);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    server?.close();
  });

  const open = async (options: PageOptions = {}): Promise<Page> => {
    page = await browser.newPage({ viewport: { width: 1200, height: 1000 }, ...options });
    outside = [];
    page.on('request', (request) => {
      if (!request.url().startsWith(`http://127.0.0.1:${port}/`)) outside.push(request.url());
    });
    page.on('console', (message) => {
      if (message.type() === 'error') outside.push(message.text());
    });
    page.on('pageerror', (error) => outside.push(error.message));
    await page.goto(`http://127.0.0.1:${port}/?token=${TOKEN}`);
    await page.waitForSelector('#verdict[data-state=broken]');
    return page;
  };
  const shoot = async (name: string): Promise<void> => {
    if (SHOTS !== undefined) {
      await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true });
    }
  };
  // biome-ignore lint/performance/useDomNodeTextContent: what is seen, not what is there
  const textOf = async (selector: string): Promise<string> => page.locator(selector).innerText();

  test('the verdict, what is wrong with its cure, charts, peers, drops, facts', async () => {
    await open();
    assert.match(await textOf('#verdict'), /BROKEN the underlay address .* is gone from ens33/);
    assert.match(await textOf('#findings'), /error: the underlay address/);
    assert.match(await textOf('#findings code'), /^ip addr add 192\.168\.56\.11\/24 dev ens33$/);
    assert.match(await textOf('#bits-now'), /^[34]\.\d+ Gb\/s out, 1\.\d+ Gb\/s in$/);
    assert.equal(await page.locator('.chart canvas').count(), 2);
    assert.match(await textOf('#peers tbody tr:first-child'), /192\.168\.56\.12\s.*Gb\/s/);
    assert.match(await textOf('#drops tbody'), /unknown_sender\s+2,0\d\d\s+7\/s\s+from an address/);
    assert.match(await textOf('#drops tbody'), /198\.51\.100\.7/);
    assert.match(
      await textOf('#drops tbody tr:first-child td:last-child'),
      /^VXLAN VNI 1: TCP 10\.5\.9\.2:40116 > .* \[S\] DF 60 bytes \(from 198\.51\.100\.7, 3 s ago\)$/,
    );
    assert.equal(await textOf('#drops tbody tr:last-child td:last-child'), '–', 'none is kept');
    assert.match(await textOf('#facts'), /10\.10\.58\.0\/24 of 10\.10\.0\.0\/16/);
    assert.equal(page.url(), `http://127.0.0.1:${port}/`, 'the token is out of the address');
    assert.deepEqual(outside, [], 'nothing from outside, no error');
    await shoot('light');
  });

  test('it is live, and says when it is not', async () => {
    await open();
    server.tell(at(121, WELL), 1.7e9 + 121);
    await page.waitForSelector('#verdict[data-state=well]');
    assert.equal(await page.isVisible('#findings'), false);
    assert.equal(await page.title(), 'weft');
    server.tell('no weft runs on this host; start one with: weft up', 1.7e9 + 122);
    await page.waitForSelector('#verdict[data-state=gone]');
    assert.equal(await textOf('#bits-now'), '', 'nothing flows through a weft that is gone');
    assert.equal(await textOf('#packets-now'), '');
    assert.match(await textOf('#verdict'), /NO WEFT no weft runs on this host/);
    server.tell(at(123), 1.7e9 + 123);
    await page.waitForSelector('#verdict[data-state=broken]');
    assert.equal(await page.title(), 'broken: weft');
  });

  test('the numbers at the charts are whole, however long', async () => {
    const other = new DashServer({ token: TOKEN, files: readFiles() });
    const place = `http://127.0.0.1:${await other.listen(0)}/?token=${TOKEN}`;
    const { counters } = fullStatus;
    // 375 Mb/s and 375,000 packets a second.
    for (const second of [0, 1, 2]) {
      const bytes = { outbound_out_bytes: 46_875_000 * second, inbound_out_bytes: 0 };
      const packets = { outbound_out_packets: 375_000 * second, inbound_out_packets: 0 };
      const more = { counters: { ...counters, ...bytes, ...packets }, drops: {} };
      other.tell(at(second, more), 1.7e9 + second);
    }
    page = await browser.newPage({ viewport: { width: 1200, height: 1000 } });
    await page.goto(place);
    await page.waitForSelector('#verdict[data-state=broken]');
    await until(async () => (await textOf('#bits-now')).startsWith('375'));
    // Ink of any colour in the outermost columns of pixels is a letter that is cut.
    const ink = `[...document.querySelectorAll('.chart canvas')].map((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, 2, canvas.height);
      return data.filter((_, i) => i % 4 === 3).some((alpha) => alpha > 0);
    }).join()`;
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(await page.evaluate(ink), 'false,false');
    assert.equal(await page.isVisible('#drops'), false, 'of no drops there is no table');
    other.close();
  });

  test('dark, and as narrow as a phone: nothing sticks out', async () => {
    await open({ colorScheme: 'dark', viewport: { width: 360, height: 740 }, hasTouch: true });
    const wide = await page.evaluate('document.documentElement.scrollWidth');
    assert.equal(wide, 360);
    await shoot('phone-dark');
    const back = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    assert.equal(back, 'rgb(16, 21, 27)');
  });

  test('of 500 peers 200 are shown, the head of the table stays, and it says where the others are', async () => {
    const [one] = fullStatus.peers;
    const peers = Array.from({ length: 500 }, (_, i) => ({
      ...one!,
      publicIp: `192.168.${100 + (i >> 8)}.${i & 255}`,
    }));
    await open();
    server.tell(at(123, { peers }), 1.7e9 + 123);
    await until(async () => (await page.locator('#peers tbody tr').count()) === 200);
    assert.match(
      await textOf('#peers-now'),
      /^500, 300 of them not shown: weft status peers has all$/,
    );
    const head = `(() => {
      const box = document.querySelector('.scroll');
      box.scrollTop = 1000;
      return document.querySelector('#peers th').getBoundingClientRect().top - box.getBoundingClientRect().top;
    })()`;
    assert.ok(Math.abs(Number(await page.evaluate(head))) < 2);
  });

  test('what a peer or a store says is text, never markup', async () => {
    await open();
    const evil = '<img src=x onerror="document.title=1"><b>bold</b>';
    const [finding] = fullStatus.findings;
    const findings = [{ ...finding!, text: evil, cure: evil }];
    const dropSamples = [{ ...fullStatus.dropSamples[0]!, packet: evil }];
    server.tell(
      at(124, {
        dropSamples,
        findings,
        verdict: { state: 'broken', text: evil },
        store: evil,
      }),
      1.7e9 + 124,
    );
    await until(async () => (await textOf('#verdict')).includes('<img'));
    assert.equal(await page.locator('main img, main b').count(), 0);
    assert.match(await textOf('#findings li'), /<img src=x/);
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`axe finds nothing against it (${colorScheme})`, async () => {
      server.tell(at(125), 1.7e9 + 125);
      await open({ colorScheme });
      // The page's own policy lets no script in that it does not serve.
      const axe = fs.readFileSync(resolve('axe-core/axe.min.js'), 'utf8');
      await page.evaluate(axe);
      const { violations } = (await page.evaluate('axe.run()')) as {
        violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
      };
      const said = violations.flatMap(({ id, nodes }) =>
        nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`),
      );
      assert.deepEqual(said, []);
    });
  }

  test('the pages of two hosts, each behind a port of its own, do not shut each other out', async () => {
    const other = new DashServer({ token: 'b'.repeat(32), files: readFiles() });
    try {
      const there = await other.listen(0);
      const jar = new Map<string, string>();
      for (const [at, token] of [
        [port, TOKEN],
        [there, 'b'.repeat(32)],
      ] as const) {
        const first = await fetch(`http://127.0.0.1:${at}/?token=${token}`, { redirect: 'manual' });
        const [name, value] = first.headers.get('set-cookie')!.split(';')[0]!.split('=');
        jar.set(name!, value!);
      }
      // A browser sends to a host what it keeps of it, whatever the port.
      const Cookie = [...jar].map((pair) => pair.join('=')).join('; ');
      for (const at of [port, there]) {
        const { status } = await fetch(`http://127.0.0.1:${at}/`, { headers: { Cookie } });
        assert.equal(status, 200);
      }
    } finally {
      other.close();
    }
  });

  test('of a weft dash that was started anew it says that its address is another', async () => {
    const old = new DashServer({ token: TOKEN, files: readFiles() });
    let now = old;
    try {
      const there = await old.listen(0);
      old.tell(at(1), 1.7e9 + 1);
      page = await browser.newPage({});
      await page.goto(`http://127.0.0.1:${there}/?token=${TOKEN}`);
      await page.waitForSelector('#verdict[data-state=broken]');
      old.close();
      await until(async () => (await textOf('#link')).startsWith('weft dash does not answer'));
      now = new DashServer({ token: 'c'.repeat(32), files: readFiles() });
      await now.listen(there);
      await until(
        async () => /open the address that it printed/.test(await textOf('#link')),
        30_000,
      );
    } finally {
      now.close();
    }
  });

  test('without the token nothing is shown; with a foreign name neither', async () => {
    const get = (url: string, headers: Record<string, string> = {}) =>
      fetch(`http://127.0.0.1:${port}${url}`, { headers, redirect: 'manual' });
    for (const url of ['/', '/events', '/page.js', `/?token=${'b'.repeat(32)}`, '/?token=']) {
      assert.equal((await get(url)).status, 403, url);
    }
    const cookie = { Cookie: `weft-dash-${port}=${TOKEN}` };
    assert.equal((await get('/', cookie)).status, 200);
    assert.equal((await get('/__proto__', cookie)).status, 404);
    assert.equal((await get('/../package.json', cookie)).status, 404);
    const first = await get(`/?token=${TOKEN}`);
    assert.equal(first.status, 303);
    assert.match(first.headers.get('set-cookie') ?? '', /HttpOnly; SameSite=Strict/);
  });
});
