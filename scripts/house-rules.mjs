/**
 * What weft's source may not call where, as plain text searches: clock, timers, chance, the
 * end of the process and output are handed in from outside, so that the whole can run on a
 * fake clock from one seed, and so that nothing ends the process while a lane is in the addon.
 * And what it says in one way only.
 *
 * An allowance is a file, or a folder that ends in `/`; each says why.
 */

/** weft's own surroundings, and what runs beside weft and never in it. */
const LAB = 'src/lab/'; // waits for real programs
const DEMO = ['src/cli/demo.ts', 'src/cli/demo/']; // the same, and times its steps
const CLOCK = 'src/control/daemon/clock.ts'; // the clock that is handed to all others

/** Each rule: its name, what it searches for, what to do instead, and where it does not hold. */
export const RULES = [
  {
    name: 'no clock of its own',
    pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bprocess\.hrtime\b/,
    instead: 'take a Clock (src/control/runtime.ts)',
    // the log stamps its lines, and a lane what it captures
    allowed: [CLOCK, 'src/dataplane/forward/worker.ts', 'src/control/daemon/log.ts', LAB, ...DEMO],
  },
  {
    name: 'no timers of its own',
    pattern:
      /\bset(?:Timeout|Interval|Immediate)\b|\bAbortSignal\.timeout\b|['"](?:node:)?timers(?:\/promises)?['"]/,
    instead: 'take a Clock (src/control/runtime.ts)',
    // the watchdog must fire whatever became of everything else, and so must the look for a debugger
    allowed: [
      ...[CLOCK, 'src/control/daemon/lifecycle.ts', 'src/cli/no-debugger.ts'],
      ...[LAB, ...DEMO],
    ],
  },
  {
    name: 'no chance of its own',
    pattern: /\bMath\.random\b/,
    instead: 'take a Random (src/control/runtime.ts)',
    // where it is handed to the daemon, to doctor and to a probe
    allowed: ['src/cli/up.ts', 'src/cli/doctor.ts', 'src/cli/probe/ask.ts'],
  },
  {
    name: 'one way out of the process',
    pattern: /\bprocess\.(?:exit|abort|reallyExit)\(/,
    instead: 'set process.exitCode, or leave by Lifecycle (src/control/daemon/lifecycle.ts)',
    // the supervisor of a lab is process 1 and has no lanes: a signal must end it
    allowed: ['src/control/daemon/lifecycle.ts', 'src/lab/enter.ts'],
  },
  {
    name: 'no console',
    pattern: /\bconsole\./,
    instead: 'take a Log (src/control/runtime.ts), or print (src/cli/print.ts)',
    allowed: [],
  },
  {
    name: 'one way to speak',
    pattern: /\bprocess\.(?:stdout|stderr)\b|\bwriteSync\([12],/,
    instead:
      'take a Log (src/control/runtime.ts), or print (src/cli/print.ts): they make text plain',
    allowed: [
      LAB,
      'src/control/daemon/line-stream.ts', // below the log
      'src/cli/no-debugger.ts', // when nothing else works any more
    ],
  },
  {
    name: 'private to the program, not to its types alone',
    // A constructor cannot be kept from others in another way.
    pattern: /(?<=^\s*)(?:private|protected)\b(?=\s+[\w#[*])(?!\s+constructor\b)/,
    instead: 'write #name',
    allowed: [],
  },
];

/**
 * The places in one file that break a rule, as `file:line: what is wrong`.
 * `file` is its path from the project's root, with `/`. Comments are not searched.
 */
export function violations(file, text) {
  const found = [];
  for (const [index, line] of withoutComments(text).split('\n').entries()) {
    for (const { name, pattern, instead, allowed } of RULES) {
      const match = pattern.exec(line);
      if (match === null || allowed.some((place) => isAt(file, place))) continue;
      found.push(`${file}:${index + 1}: ${match[0]} breaks the rule "${name}": ${instead}`);
    }
  }
  return found;
}

function isAt(file, place) {
  return place.endsWith('/') ? file.startsWith(place) : file === place;
}

/** Takes comments out and leaves the line breaks; `//` counts after a blank only (URLs). */
function withoutComments(text) {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
    .replace(/(^|[ \t])\/\/ .*$/gm, '$1');
}
