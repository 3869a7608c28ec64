/** What a command says, on a terminal of its own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { findProgram } from '../../src/lab/enter.js';

const PRINT = new URL('../../src/cli/print.js', import.meta.url).href;
const lacks = findProgram('script') ? false : 'there is no program script (util-linux)';

test('asking for the size of a terminal again and again takes no descriptors', {
  skip: lacks,
}, () => {
  const program = `
    const { readdirSync } = await import('node:fs');
    const { print, terminalSize } = await import('${PRINT}');
    const open = () => readdirSync('/proc/self/fd').length;
    const { rows, columns } = terminalSize();
    const before = open();
    for (let i = 0; i < 20; i += 1) terminalSize();
    print('rows ' + rows + ', columns ' + columns + ', descriptors ' + (open() - before));
    process.exit(0);`;
  const command = `stty rows 31 cols 57; exec ${process.execPath} --input-type=module -e "$PROGRAM"`;
  const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
    ...{ encoding: 'utf8', timeout: 20_000, env: { ...process.env, PROGRAM: program } },
  });
  assert.match(stdout, /^rows 31, columns 57, descriptors 0\r?$/m);
});
