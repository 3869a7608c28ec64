/** `weft status -watch` on a terminal of its own, where no weft runs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';

const lacks = findProgram('script') ? false : 'there is no program script (util-linux)';

test('a terminal that changes its size has its picture anew, at once and in its size', {
  ...{ skip: lacks, timeout: 60_000 },
}, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-watch-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const flag = path.join(folder, 'narrow');
  const shrink = `until [ -e ${flag} ]; do sleep 0.1; done; stty rows 6 cols 20 <&1`;
  const status = `${process.execPath} ${WEFT} status -watch -interval=3600 -run-dir=${folder}`;
  const command = `stty rows 9 cols 40; (${shrink}) & exec ${status}`;
  const env: NodeJS.ProcessEnv = { ...process.env, TERM: 'xterm', NO_COLOR: '' };
  const script = spawn('script', ['-qc', command, '/dev/null'], { env });
  t.after(() => script.kill());
  let output = '';
  script.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString();
  });
  /** How many rows each picture has, and how long the longest is, colours left out. */
  const pictures = (): number[][] =>
    output
      .split('\x1b[H')
      .slice(1)
      .filter((picture) => picture.includes('\x1b[J'))
      .map((picture) => {
        const rows = picture.split('\x1b[J')[0]!.split('\r\n').slice(0, -1);
        const bare = rows.map((row) =>
          row
            .split('\x1b')
            .map((piece) => piece.replace(/^\[[\d;]*[mK]/, ''))
            .join(''),
        );
        return [bare.length, Math.max(...bare.map((row) => row.length))];
      });
  const shown = async (columns: number): Promise<void> => {
    for (const end = Date.now() + 20_000; pictures().at(-1)?.[1] !== columns; ) {
      assert.ok(Date.now() < end, output);
      await sleep(20);
    }
  };
  await shown(40);
  fs.writeFileSync(flag, '');
  // Told of its rows and of its columns, it is drawn for each.
  await shown(20);
  script.stdin.write('\x03');
  await new Promise((resolve) => script.once('close', resolve));
  const [wide, narrow] = [pictures()[0]!, pictures().at(-1)!];
  assert.ok(narrow[0]! > wide[0]! && narrow[0]! <= 5, output);
  assert.ok(output.trimEnd().endsWith('\x1b[?25h\x1b[?1049l'), JSON.stringify(output.slice(-60)));
});
