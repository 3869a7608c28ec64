/**
 * The maintainer scripts of the Debian package, on hosts that are not as they should be. Each is run as dpkg
 * runs it, in a mount namespace whose /run, /etc and /var/lib are empty, with a systemctl that writes down
 * what it was asked. `npm run test-packages` and `test-units` have the usual ways.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SCRIPTS = fileURLToPath(new URL('../../../packaging/debian/', import.meta.url));
const ALONE = ['unshare', '--user', '--map-root-user', '--mount', '--propagation', 'private'];
const DROP_IN = '/etc/systemd/system/flanneld.service.d/weft.conf';

/** A host on which systemd runs, unless `host` takes it away. */
const SET = `set -e
for folder in /run /etc /var/lib /usr/local; do mount -t tmpfs test "$folder"; done
mkdir -p /run/systemd/system /usr/local/bin
for name in systemctl deb-systemd-invoke; do
  printf '#!/bin/sh\\necho "asked: $*"\\n' >/usr/local/bin/$name; chmod +x /usr/local/bin/$name
done
PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
dropin() { mkdir -p ${path.dirname(DROP_IN)}; : >${DROP_IN}; }
`;

function lacks(): string | false {
  const done = spawnSync(ALONE[0]!, [...ALONE.slice(1), 'true'], { encoding: 'utf8' });
  if (done.status !== 0) return `needs a mount namespace of its own (${done.stderr?.trim()})`;
  return fs.existsSync('/usr/bin/weft') ? 'weft is installed on this machine' : false;
}

/** What the script says, and what stands below /run/weft and /var/lib/weft afterwards. */
function run(script: string, args: readonly string[], host = ''): { said: string; left: string[] } {
  const text = fs.readFileSync(path.join(SCRIPTS, script), 'utf8');
  const after = `\necho ---; find /run/weft /var/lib/weft -type f 2>/dev/null || true`;
  const argv = [
    ...ALONE.slice(1),
    'sh',
    '-c',
    `${SET}${host}\n(set -- "$@"; ${text}) 2>&1${after}`,
  ];
  const done = spawnSync(ALONE[0]!, [...argv, script, ...args], { encoding: 'utf8' });
  assert.equal(done.status, 0, `${script} ${args.join(' ')}: ${done.stdout}${done.stderr}`);
  const [said = '', left = ''] = done.stdout.split('---\n');
  return {
    said,
    left: left
      .split('\n')
      .filter((line) => line !== '')
      .sort(),
  };
}

const JOURNAL =
  'mkdir -p /run/weft /var/lib/weft; : >/run/weft/flannel.1.json; : >/var/lib/weft/docker';

describe('the package’s maintainer scripts', { skip: lacks() }, () => {
  test('every one of them is in the package', () => {
    const inPackage = fs.readFileSync(path.join(SCRIPTS, '../../scripts/package.mjs'), 'utf8');
    const scripts = fs
      .readdirSync(SCRIPTS)
      .filter((name) => /^(?:pre|post)(?:inst|rm)$/.test(name));
    assert.equal(scripts.length, 4);
    for (const name of scripts) assert.ok(inPackage.includes(`'${name}'`), name);
  });

  test('an upgrade starts anew what ran, in weft’s unit and in flanneld’s that has weft', () => {
    const all = /^asked: daemon-reload\nasked: try-restart weft.service\n$/;
    assert.match(run('postinst', ['configure', '0.0.9']).said, all);
    assert.match(
      run('postinst', ['configure', '0.0.9'], 'dropin').said,
      /^asked: daemon-reload\nasked: try-restart weft.service\nasked: try-restart flanneld.service\n$/,
    );
  });

  test('the first time nothing is started, and it says what comes next', () => {
    const { said } = run('postinst', ['configure', ''], 'dropin');
    assert.match(said, /^asked: daemon-reload\nweft: set WEFT_OPTIONS in .*enable --now weft\n$/);
    assert.equal(run('preinst', ['install']).said, '');
  });

  test('installed again after a removal, it says that weft is off', () => {
    assert.match(run('preinst', ['install', '0.1.0']).said, /is off; .*enable --now weft\n$/);
    assert.equal(run('preinst', ['upgrade', '0.1.0']).said, '', 'an upgrade leaves it on');
  });

  test('removed while flanneld’s unit runs weft, it says how flanneld comes back', () => {
    const { said } = run('prerm', ['remove'], 'dropin');
    assert.match(said, /cannot start without it.*\n +rm .*flanneld.service.d\/weft.conf && /);
    assert.doesNotMatch(run('prerm', ['remove']).said, /flanneld/);
    assert.equal(run('prerm', ['upgrade', '0.2.0'], 'dropin').said, '');
  });

  test('removed after its files were deleted by hand, it says that nothing is taken back', () => {
    const { said } = run('prerm', ['remove'], JOURNAL);
    assert.match(said, /its program is gone/);
    assert.doesNotMatch(said, /not found/);
  });

  test('purged, it leaves what tells a weft in a container what is its own; else nothing', () => {
    const kept = run('postrm', ['purge'], JOURNAL);
    assert.deepEqual(kept.left, ['/run/weft/flannel.1.json']);
    assert.match(kept.said, /\/run\/weft is kept/);
    const other = 'mkdir -p /run/weft/net-1; : >/run/weft/net-1/starting-1.sock';
    assert.deepEqual(run('postrm', ['purge'], other).left, ['/run/weft/net-1/starting-1.sock']);
    const bare = 'mkdir -p /run/weft; : >/run/weft/network-1.saved';
    assert.deepEqual(run('postrm', ['purge'], bare), { said: 'asked: daemon-reload\n', left: [] });
    assert.deepEqual(run('postrm', ['remove'], JOURNAL).left.length, 2);
  });

  test('without a systemd none of them fails or asks for one', () => {
    const none = 'rm -r /run/systemd /usr/local/bin';
    for (const [script, ...args] of [
      ['preinst', 'install'],
      ['postinst', 'configure', '0.1.0'],
      ['prerm', 'remove'],
      ['postrm', 'purge'],
      ['postinst', 'abort-upgrade', '0.1.0'],
      ['postrm', 'abort-install'],
    ] as const) {
      assert.equal(run(script, args, none).said, '', script);
    }
  });
});
