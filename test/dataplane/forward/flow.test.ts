/**
 * The numbered flow at the head of a direction's file is what the file does: it names each reason of
 * a drop under the step that gives it, drops.ts has them in that order, and the bodies carry the
 * numbers.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { DROP_NAMES, type DropName } from '../../../src/dataplane/forward/drops.js';

interface Step {
  readonly name: string;
  readonly text: string;
  readonly reasons: readonly DropName[];
}

/** `   3. train       one inner packet …` and the lines that go on from it. */
function stepsOf(source: string, all: readonly DropName[]): Step[] {
  const head = source.slice(0, source.indexOf('*/'));
  const steps: { name: string; text: string }[] = [];
  for (const line of head.split('\n')) {
    const [, number, name, text] = /^ \* {3}(\d+)\. (\w+)\s+(.*)$/.exec(line) ?? [];
    const more = /^ \* {10,}(\S.*)$/.exec(line)?.[1];
    if (name !== undefined) {
      assert.equal(Number(number), steps.length + 1, line);
      steps.push({ name, text: text! });
    } else if (more !== undefined && steps.length > 0) {
      steps.at(-1)!.text += ` ${more}`;
    }
  }
  return steps.map(({ name, text }) => {
    const words = new Set(text.split(/[^a-z0-9_]+/));
    return { name, text, reasons: all.filter((reason) => words.has(reason)) };
  });
}

/** What stands behind the comments `// 3. train`, up to the next of them; a step may have several. */
function bodiesOf(source: string): Map<string, string> {
  const parts = source.split(/^\s*\/\/ (\d+\. \w+).*$/m);
  const bodies = new Map<string, string>();
  for (let i = 1; i < parts.length; i += 2) {
    bodies.set(parts[i]!, (bodies.get(parts[i]!) ?? '') + parts[i + 1]!);
  }
  return bodies;
}

const reasonsIn = (text: string): string[] => [
  ...new Set([...text.matchAll(/\bDrop\.(\w+)/g)].map((found) => found[1]!)),
];

/** A reason that another file gives is told with it: `tun_refused (write-queue.ts)`. */
function checkFlow(file: string, all: readonly DropName[]): void {
  const read = (name: string): string => fs.readFileSync(`src/dataplane/forward/${name}`, 'utf8');
  const source = read(file);
  const steps = stepsOf(source, all);
  const bodies = bodiesOf(source);
  assert.ok(steps.length > 3);
  assert.deepEqual(
    [...bodies.keys()].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)),
    steps.map(({ name }, i) => `${i + 1}. ${name}`),
    'the bodies carry the numbers and names',
  );
  const named = [...new Set(steps.flatMap(({ reasons, text }) => inOrder(reasons, text)))];
  assert.deepEqual(named, [...all], 'the head names every reason, in the order of drops.ts');
  for (const [i, { name, text, reasons }] of steps.entries()) {
    const given = reasonsIn(bodies.get(`${i + 1}. ${name}`)!).filter((one) => one !== 'none');
    const elsewhere = [...text.matchAll(/\((\S+\.ts)\)/g)].flatMap(([, other]) =>
      reasonsIn(read(other!)),
    );
    for (const one of given) {
      assert.ok(reasons.includes(one as DropName), `${file}, step ${i + 1}: ${one} is not told`);
    }
    for (const one of reasons) {
      assert.ok([...given, ...elsewhere].includes(one), `${file}, step ${i + 1}: no ${one}`);
    }
  }
}

/** The reasons as the text has them. */
function inOrder(reasons: readonly DropName[], text: string): DropName[] {
  const place = (reason: DropName): number => text.search(new RegExp(`\\b${reason}\\b`));
  return [...reasons].sort((a, b) => place(a) - place(b));
}

const FIRST_INBOUND = DROP_NAMES.indexOf('unknown_sender');

test('outbound does what its head says, and drops.ts has its reasons in that order', () => {
  checkFlow('outbound.ts', DROP_NAMES.slice(1, FIRST_INBOUND));
});

test('inbound does what its head says, and drops.ts has its reasons in that order', () => {
  checkFlow('inbound.ts', DROP_NAMES.slice(FIRST_INBOUND));
});
