/** `weft release` as a user who may not do all of it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const MODULE = new URL('../../src/cli/release.js', import.meta.url).href;
const notRoot = process.getuid?.() === 0 ? false : 'needs root, to be another user';

test('what has to be read and removed is looked at before anything is given back', {
  skip: notRoot,
}, (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-release-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  fs.chmodSync(folder, 0o755);
  const file = path.join(folder, 'network.saved');
  /** As nobody, or as root. */
  const look = (uid: number) => {
    const script = `
      const { refuseWithoutRights } = await import(${JSON.stringify(MODULE)});
      process.setuid(${uid});
      try { refuseWithoutRights(${JSON.stringify(file)}) } catch (error) { console.log(error.message) }`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(stderr, '');
    return stdout;
  };
  assert.equal(look(65534), '', 'nothing was saved');
  fs.writeFileSync(file, '{}', { mode: 0o644 });
  assert.match(look(65534), /network\.saved, .* be root\. Nothing was given back/);
  assert.equal(look(0), '');
  fs.chmodSync(folder, 0o700);
  assert.match(look(65534), /permission denied.* be root\./);
  fs.chmodSync(folder, 0o777);
  assert.equal(look(65534), '');
  fs.chmodSync(file, 0o600);
  assert.match(look(65534), /permission denied.* be root\./);
});
