/**
 * The packages as a newcomer meets them, on fresh Debian roots: installed, used, upgraded beside a weft
 * that runs, removed. Takes minutes, so it is a program of its own: `npm run test-packages`;
 * `-- --only=13` for one release, `-- --brief` for the Debian package alone.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { before, describe, test } from 'node:test';
import { missing, typedOf } from '../docs/blocks.js';
import { readArguments, skipAll } from './arguments.js';
import { theirContents } from './contents.js';
import { makeRoot, type Ran, rootLacks, runFresh } from './root.js';

const PACKAGES = path.resolve('dist/packages');
/** What the demo wants of a host, beside weft. */
const DEMO = 'procps iputils-ping traceroute iperf3 hostname etcd-server iptables';
const APT = 'apt-get -q update >/dev/null && apt-get -qq install -y --no-install-recommends';

function built(pattern: RegExp): string {
  const name = fs.readdirSync(PACKAGES).find((one) => pattern.test(one));
  assert.ok(name !== undefined, `no ${pattern} in ${PACKAGES}: npm run package`);
  return path.join(PACKAGES, name);
}

function passed({ code, output }: Ran): string {
  assert.equal(code, 0, output.slice(-4_000));
  return output;
}

const UPGRADE = path.resolve('test/packages/upgrade.sh');

const NAMES: Record<string, string> = { 12: 'bookworm', 13: 'trixie' };
const { releases, brief } = readArguments('test-packages', Object.keys(NAMES));

const lacks = rootLacks();
if (lacks !== undefined) skipAll('test-packages', lacks);

theirContents(
  () => built(/^weft_.*_amd64\.deb$/),
  brief ? undefined : () => built(/^weft-.*\.tgz$/),
);

for (const number of releases) {
  describe(`Debian ${number}`, () => {
    let root: string;
    let deb: string;
    let tarball: string;
    before(() => {
      root = makeRoot(NAMES[number]!, []);
      deb = built(/^weft_.*_amd64\.deb$/);
      if (!brief) tarball = built(/^weft-.*\.tgz$/);
    });
    const fresh = (script: string, ...files: string[]) => runFresh(root, script, files);

    test('the Debian package: installed, two hosts from it, no Node but its own', () => {
      const output = passed(
        fresh(`${APT} ${DEMO} /tmp/*.deb && ! command -v node && weft demo`, deb),
      );
      assert.match(output, /set WEFT_OPTIONS in \/etc\/default\/weft/);
      assert.match(output, /All 10 steps passed/);
    });

    test('purged, nothing of it is left', () => {
      const list = 'find / -xdev ! -path "/var/*" ! -path "/proc/*" ! -path "/tmp/*" | sort';
      const output = passed(
        fresh(
          `${APT} iproute2 libstdc++6 >/dev/null && ${list} >/tmp/before` +
            ' && dpkg -i /tmp/*.deb >/dev/null && weft status; dpkg -P weft' +
            ` && ${list} >/tmp/after && diff /tmp/before /tmp/after`,
          deb,
        ),
      );
      assert.doesNotMatch(output, /cannot|not empty/);
    });

    test('upgraded beside a weft that runs: no ping is lost, and a new TUN is as before', () => {
      const output = passed(
        fresh(`${APT} ${DEMO} /tmp/weft_*.deb >/dev/null && sh /tmp/upgrade.sh`, deb, UPGRADE),
      );
      assert.match(output, /200 packets transmitted, 200 received/);
      assert.match(output, /20 packets transmitted, 20 received/);
      assert.match(output, /^weft 99/m);
    });

    // Debian 12 has too old a Node.
    if (number === '13' && !brief) {
      test('docs/install.md: each way, typed as it stands on a fresh machine', () => {
        const source = path.resolve('dist/packages/source.tar');
        spawnSync('git', ['archive', '--output', source, 'HEAD']);
        const files = { root: deb, npm: tarball, source };
        for (const { block, prints } of typedOf('docs/install.md')) {
          const file = files[block.words[0] as keyof typeof files];
          const ready = file === source ? 'tar -xf /tmp/source.tar' : 'cp /tmp/weft* .';
          const output = passed(fresh(`set -e; ${ready}; ${block.text}`, file));
          if (process.env.WEFT_DOCUMENTS_PRINT) {
            console.log(`=== "${block.heading}", line ${block.line}, on a\n${output}=== end`);
          } else assert.equal(missing(prints?.text ?? '', output), undefined, output);
        }
      });

      test('the npm package on the distribution’s Node: without a compiler, and without scripts', () => {
        for (const flags of ['', '--ignore-scripts']) {
          const output = passed(
            fresh(
              `${APT} ${DEMO} iproute2 nodejs npm >/dev/null && ! command -v cc && ` +
                `npm install -g --no-audit --no-fund ${flags} /tmp/*.tgz && weft version && weft demo`,
              tarball,
            ),
          );
          assert.match(output, /All 10 steps passed/);
        }
      });
    }
  });
}

if (!brief) {
  test('the same commit makes the same bytes: another folder, umask, time zone and user’s settings', (t) => {
    const changed = spawnSync('git', ['status', '--porcelain'], { encoding: 'utf8' }).stdout;
    if (changed !== '') return t.skip('only what is committed can be made again elsewhere');
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-again-'));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const again = `
      set -e; umask 077; export TZ=Asia/Tokyo LC_ALL=C
      git clone -q . "$1/weft"; cp -a node_modules "$1/weft/"; mkdir "$1/weft/.cache"
      for node in "$PWD"/.cache/node-*; do ln -s "$node" "$1/weft/.cache/"; done
      cd "$1/weft"; npm run --silent package`;
    // A minute of it is xz, of one processor. What is too late is ended with all that it started.
    const bounded = ['--kill-after=10', '1800', 'sh', '-c', again, 'sh', folder];
    const done = spawnSync('timeout', bounded, { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    for (const pattern of [/^weft_.*\.deb$/, /^weft-.*\.tgz$/]) {
      const one = built(pattern);
      const other = path.join(folder, 'weft', 'dist/packages', path.basename(one));
      assert.ok(
        fs.readFileSync(one).equals(fs.readFileSync(other)),
        `${path.basename(one)} differs`,
      );
    }
  });
}
