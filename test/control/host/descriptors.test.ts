import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { spareDescriptors } from '../../../src/control/host/descriptors.js';

test('what the limit leaves beyond what is open and a reserve', (t) => {
  const proc = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-proc-'));
  t.after(() => fs.rmSync(proc, { recursive: true }));
  fs.mkdirSync(`${proc}/fd`);
  for (let fd = 0; fd < 10; fd += 1) fs.writeFileSync(`${proc}/fd/${fd}`, '');
  const limit = (soft: string) =>
    fs.writeFileSync(
      `${proc}/limits`,
      `Limit                     Soft Limit           Hard Limit           Units\n` +
        `Max processes             7                    7                    processes\n` +
        `Max open files            ${soft.padEnd(20)} 524288               files\n`,
    );
  limit('1024');
  assert.equal(spareDescriptors(proc), 1024 - 10 - 48);
  limit('50');
  assert.equal(spareDescriptors(proc), 0);
  limit('unlimited');
  assert.ok(spareDescriptors(proc) > 1e9);
  fs.rmSync(`${proc}/limits`);
  assert.equal(spareDescriptors(proc), 0);
  assert.ok(spareDescriptors() > 0, 'of this process');
});
