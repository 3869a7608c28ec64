import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { readUnitFlags } from '../../src/cli/doctor/unit.js';

test("the unit's flags, as systemd reads file and variable", (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-unit-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'weft');
  const read = (text: string) => {
    fs.writeFileSync(file, text);
    return readUnitFlags(file);
  };
  assert.equal(readUnitFlags(path.join(folder, 'none')), undefined);
  for (const none of ['', '# WEFT_OPTIONS=-a\n', 'WEFT_OPTIONS=\n', 'OTHER=-a\n']) {
    assert.equal(read(none), undefined, none);
  }
  const args = (text: string) => read(text)?.args;
  assert.deepEqual(args('WEFT_OPTIONS=-a=1  -b 2\n'), ['-a=1', '-b', '2']);
  assert.deepEqual(args('WEFT_OPTIONS="-a=1 -b"\n'), ['-a=1', '-b']);
  assert.deepEqual(args('WEFT_OPTIONS=-a="x y" \'-b\'\n'), ['-a=x y', '-b']);
  assert.deepEqual(args('WEFT_OPTIONS=-a \\\n  -b\n'), ['-a', '-b']);
  assert.deepEqual(args('WEFT_OPTIONS=-a\nWEFT_OPTIONS=-b\n'), ['-b']);
  assert.deepEqual(args('# x\r\nWEFT_OPTIONS=-a -b\r\n'), ['-a', '-b']);
  const { variables } = read("FLANNELD_ETCD_PASSWORD='a b'\nWEFT_OPTIONS=-a\n")!;
  assert.deepEqual(variables, { FLANNELD_ETCD_PASSWORD: 'a b', WEFT_OPTIONS: '-a' });
});
