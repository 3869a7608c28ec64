/**
 * The packages as a newcomer meets them, on fresh Debian roots: installed, used, upgraded beside a weft
 * that runs, removed. Takes minutes, so it is a program of its own: `npm run test-packages`.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
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

const lacks = rootLacks();

for (const [release, node] of [
  ['bookworm', false],
  ['trixie', true],
] as const) {
  describe(`Debian ${release}`, { skip: lacks ?? false }, () => {
    let root: string;
    let deb: string;
    let tarball: string;
    before(() => {
      root = makeRoot(release, []);
      deb = built(/^weft_.*_amd64\.deb$/);
      tarball = built(/^weft-.*\.tgz$/);
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

    if (node) {
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
