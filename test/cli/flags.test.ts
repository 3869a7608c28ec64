/** Flags as Go's flag package reads them, and flanneld's environment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Flag, type Flags, parseFlags, UsageError, variableOf } from '../../src/cli/flags.js';

const KNOWN: readonly Flag[] = [
  { name: 'etcd-prefix', kind: 'string', help: 'a key', default: '/coreos.com/network' },
  { name: 'iface', kind: 'list', value: 'name|address', help: 'an interface' },
  { name: 'ip-masq', kind: 'bool', help: 'masquerade' },
  { name: 'forward', kind: 'bool', help: 'let through', default: 'true' },
  { name: 'v', kind: 'int', help: 'verbosity', default: '0' },
];

function parse(args: string[], environment: Record<string, string> = {}): Flags {
  return parseFlags(KNOWN, args, environment);
}

function refuses(args: string[], message: string, environment: Record<string, string> = {}): void {
  assert.throws(
    () => parse(args, environment),
    (error) => {
      assert.ok(error instanceof UsageError);
      assert.equal(error.message, message);
      return true;
    },
  );
}

test('one dash or two, the value after = or as the next argument', () => {
  for (const args of [
    ['-etcd-prefix', '/a'],
    ['--etcd-prefix', '/a'],
    ['-etcd-prefix=/a'],
    ['--etcd-prefix=/a'],
  ]) {
    const flags = parse(args);
    assert.equal(flags.text('etcd-prefix'), '/a', args.join(' '));
    assert.equal(flags.given('etcd-prefix'), true);
    assert.deepEqual(flags.rest, []);
  }
});

test('a value may be empty, hold =, blanks, line breaks, or begin with a dash', () => {
  assert.equal(parse(['-etcd-prefix=']).text('etcd-prefix'), '');
  assert.equal(parse(['-etcd-prefix=']).given('etcd-prefix'), true);
  assert.equal(parse(['-etcd-prefix', '']).text('etcd-prefix'), '');
  assert.equal(parse(['-etcd-prefix=a=b']).text('etcd-prefix'), 'a=b');
  assert.equal(parse(['-etcd-prefix', 'a b']).text('etcd-prefix'), 'a b');
  assert.equal(parse(['-etcd-prefix=a\nb']).text('etcd-prefix'), 'a\nb');
  assert.equal(parse(['-etcd-prefix', '-iface']).text('etcd-prefix'), '-iface');
  assert.equal(parse(['-etcd-prefix', '--']).text('etcd-prefix'), '--');
});

test('defaults hold for what is not given, and count as not given', () => {
  const flags = parse([]);
  assert.equal(flags.text('etcd-prefix'), '/coreos.com/network');
  assert.equal(flags.given('etcd-prefix'), false);
  assert.equal(flags.bool('ip-masq'), false);
  assert.equal(flags.bool('forward'), true);
  assert.equal(flags.int('v'), 0);
  assert.deepEqual(flags.list('iface'), []);
  assert.equal(flags.text('iface'), '');
});

test('a bool stands alone or with =; the next argument is not its value', () => {
  for (const word of ['1', 't', 'T', 'true', 'TRUE', 'True']) {
    assert.equal(parse([`-ip-masq=${word}`]).bool('ip-masq'), true, word);
  }
  for (const word of ['0', 'f', 'F', 'false', 'FALSE', 'False']) {
    assert.equal(parse([`-forward=${word}`]).bool('forward'), false, word);
  }
  const flags = parse(['-ip-masq', 'false']);
  assert.equal(flags.bool('ip-masq'), true);
  assert.deepEqual(flags.rest, ['false']);
  refuses(['-ip-masq=yes'], '-ip-masq=yes: "yes" is neither true nor false');
  refuses(['-ip-masq='], '-ip-masq=: "" is neither true nor false');
});

test('a whole number, with a sign or without', () => {
  assert.equal(parse(['-v', '10']).int('v'), 10);
  assert.equal(parse(['-v=-1']).int('v'), -1);
  refuses(['-v', 'many'], '-v many: "many" is not a whole number');
  refuses(['-v=1.5'], '-v=1.5: "1.5" is not a whole number');
  refuses(['-v='], '-v=: "" is not a whole number');
});

test('of a repeated flag the last counts; a list keeps all, in order', () => {
  assert.equal(parse(['-etcd-prefix=/a', '-etcd-prefix', '/b']).text('etcd-prefix'), '/b');
  assert.equal(parse(['-ip-masq', '-ip-masq=false']).bool('ip-masq'), false);
  assert.deepEqual(parse(['-iface=eth1', '--iface', 'eth0']).list('iface'), ['eth1', 'eth0']);
});

test('-- ends the flags; what is no flag is the rest', () => {
  const flags = parse(['-ip-masq', '--', '-v', '2']);
  assert.deepEqual(flags.rest, ['-v', '2']);
  assert.equal(flags.int('v'), 0);
  assert.deepEqual(parse(['one', '-v=2', '-']).rest, ['one', '-']);
  assert.deepEqual(parse(['---v', '-=x', '--=x', '']).rest, ['---v', '-=x', '--=x', '']);
});

test('an unknown flag is named, without its value', () => {
  refuses(['-nonsense'], 'unknown flag -nonsense');
  refuses(['--nonsense=secret'], 'unknown flag --nonsense');
  refuses(['-etcd-prefix-two', '/a'], 'unknown flag -etcd-prefix-two; did you mean -etcd-prefix?');
});

test('a flag at the end without its value is named', () => {
  refuses(['-etcd-prefix'], 'flag -etcd-prefix needs a value');
  refuses(['--iface'], 'flag -iface needs a value');
});

test('the environment counts only for what the command line does not give', () => {
  const environment = {
    FLANNELD_ETCD_PREFIX: '/env',
    FLANNELD_IFACE: 'eth9',
    FLANNELD_IP_MASQ: 'true',
    FLANNELD_V: '3',
  };
  const flags = parse(['-iface=eth0'], environment);
  assert.equal(flags.text('etcd-prefix'), '/env');
  assert.equal(flags.given('etcd-prefix'), true);
  assert.deepEqual(flags.list('iface'), ['eth0']);
  assert.equal(flags.bool('ip-masq'), true);
  assert.equal(flags.int('v'), 3);
  assert.equal(parse(['-ip-masq=false'], environment).bool('ip-masq'), false);
  assert.equal(parse(['-etcd-prefix='], environment).text('etcd-prefix'), '');
});

test('an empty variable is as none, and a bad one is named', () => {
  const flags = parse([], { FLANNELD_ETCD_PREFIX: '', FLANNELD_IP_MASQ: '', FLANNELD_V: '' });
  assert.equal(flags.text('etcd-prefix'), '/coreos.com/network');
  assert.equal(flags.given('ip-masq'), false);
  refuses([], 'FLANNELD_IP_MASQ=maybe: "maybe" is neither true nor false', {
    FLANNELD_IP_MASQ: 'maybe',
  });
  refuses([], 'FLANNELD_V=x: "x" is not a whole number', { FLANNELD_V: 'x' });
});

test("a variable's name is flanneld's", () => {
  assert.equal(variableOf('FLANNELD_', 'etcd-prefix'), 'FLANNELD_ETCD_PREFIX');
  assert.equal(variableOf('FLANNELD_', 'healthz.port'), 'FLANNELD_HEALTHZ_PORT');
});

test('an unknown flag is refused with the nearest one that there is', () => {
  refuses(['-ifcae=x'], 'unknown flag -ifcae; did you mean -iface?');
  refuses(['--etcd-prefx=x'], 'unknown flag --etcd-prefx; did you mean -etcd-prefix?');
  refuses(['-nonsense'], 'unknown flag -nonsense');
  refuses(['-x'], 'unknown flag -x');
});
