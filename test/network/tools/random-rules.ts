/** Rules at random, the same for the same seed, as lines for a shell: of nft and both iptables. */

type Random = (below: number) => number;

/** mulberry32. */
function randomFrom(seed: number): Random {
  let state = seed * 7919;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const DEVICES = ['flannel.1', 'docker0', 'ens33', 'eth9'];
const NETS = ['10.5.0.0/16', '10.5.7.0/24', '10.5.52.254', '192.168.56.0/24', '172.16.0.0/12'];
const PORTS = ['8472', '50013', '53', '1-1024', '8000-60000'];
const STATES = ['new', 'established', 'invalid', 'untracked', 'established,related'];

export function randomRules(seed: number): string {
  const random = randomFrom(seed);
  const parts = [nftRules(random)];
  if (random(2) === 0) parts.push(iptablesRules(random, 'iptables'));
  if (random(2) === 0) parts.push(iptablesRules(random, 'iptables-legacy'));
  return parts.join('\n');
}

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random(list.length)]!;
}

function some<T>(random: Random, list: readonly T[]): T[] {
  const taken = list.filter(() => random(2) === 0);
  return taken.length === 0 ? [pick(random, list)] : taken;
}

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

function nftMatch(random: Random, hook: string): string {
  const not = random(4) === 0 ? '!= ' : '';
  const name = ['prerouting', 'input'].includes(hook) || random(2) === 0 ? 'iifname' : 'oifname';
  const devices = some(random, DEVICES).map((device) => `"${device}"`);
  switch (random(9)) {
    case 0:
      return `${name} ${not}"${pick(random, [...DEVICES, 'flannel*'])}"`;
    case 1:
      return `${name} ${not}{ ${devices.join(', ')} }`;
    case 2:
      return `ip ${pick(random, ['saddr', 'daddr'])} ${not}${pick(random, NETS)}`;
    case 3:
      return `ip saddr ${not}@nets`;
    case 4:
      return `${pick(random, ['udp', 'tcp', 'meta l4proto udp th'])} dport ${not}{ ${pick(random, PORTS)}, 7 }`;
    case 5:
      return `ct state ${not}${pick(random, STATES)}`.replace('!= established,related', 'new');
    case 6:
      return `fib daddr type ${not}local`;
    case 7:
      return `ip protocol ${not}${pick(random, ['udp', 'tcp'])}`;
    default:
      return `${name} . ip protocol { ${devices[0]} . udp, "lo" . tcp }`;
  }
}

function nftVerdict(random: Random, deeper: readonly string[]): string {
  const to =
    deeper.length === 0 ? [] : [`jump ${pick(random, deeper)}`, `goto ${pick(random, deeper)}`];
  return pick(random, [
    'accept',
    'drop',
    'counter drop',
    'return',
    'reject',
    'continue',
    ...to,
    ...to,
  ]);
}

function nftRule(random: Random, hook: string, deeper: readonly string[]): string {
  if (random(8) === 0) {
    const name = ['prerouting', 'input'].includes(hook) ? 'iifname' : 'oifname';
    const [a, b] = [nftVerdict(random, deeper), nftVerdict(random, deeper)];
    const clean = (verdict: string) => verdict.replace('counter ', '').replace('reject', 'drop');
    return `${name} vmap { "flannel.1" : ${clean(a)}, "docker0" : ${clean(b)} }`;
  }
  const matches = times(1 + random(2), () => nftMatch(random, hook));
  return `${matches.join(' ')} ${nftVerdict(random, deeper)}`;
}

function nftRules(random: Random): string {
  const tables = times(1 + random(2), (n) => {
    const hook = pick(random, ['prerouting', 'input', 'forward', 'output', 'postrouting']);
    // "reject" is for some hooks alone, and so is what comes or goes by no device.
    const rules = (deeper: readonly string[]) =>
      times(1 + random(4), () => `  ${nftRule(random, hook, deeper)}`.replace('reject', 'drop'));
    const priority = pick(random, [-350, -150, 0, 10, 100]);
    const dormant = random(8) === 0 ? ' flags dormant\n' : '';
    return [
      `table inet t${n} {`,
      `${dormant} set nets { type ipv4_addr; flags interval; elements = { 10.5.7.0/24, 172.17.0.1 }\n }`,
      ` chain b {\n${rules([]).join('\n')}\n }`,
      ` chain a {\n${rules(['b']).join('\n')}\n }`,
      ` chain base {\n  type filter hook ${hook} priority ${priority}; policy ${pick(random, ['accept', 'accept', 'drop'])};`,
      `${rules(['a', 'b']).join('\n')}\n }`,
      '}',
    ].join('\n');
  });
  return `nft -f - <<'END'\n${tables.join('\n').replaceAll(' flags dormant\n', '')}\nEND`;
}

function iptablesMatch(random: Random, hook: string): string {
  const not = random(4) === 0 ? '! ' : '';
  const option = ['PREROUTING', 'INPUT'].includes(hook)
    ? '-i'
    : hook === 'OUTPUT'
      ? '-o'
      : pick(random, ['-i', '-o']);
  switch (random(7)) {
    case 0:
      return `${not}${option} ${pick(random, [...DEVICES, 'flannel+'])}`;
    case 1:
      return `${not}${pick(random, ['-s', '-d'])} ${pick(random, NETS)}`;
    case 2:
      return `-p udp -m udp ${not}--dport ${pick(random, PORTS).replace('-', ':')}`;
    case 3:
      return `-p udp -m multiport ${not}--dports 7,${pick(random, PORTS).replace('-', ':')}`;
    case 4:
      return `-m conntrack ${not}--ctstate ${pick(random, STATES).toUpperCase()}`;
    case 5:
      return `-m addrtype ${not}--dst-type LOCAL`;
    default:
      return `${not}-p ${pick(random, ['udp', 'tcp'])}`;
  }
}

function iptablesRules(random: Random, program: string): string {
  const [table, hook] = pick(random, [
    ...([
      ['raw', 'PREROUTING'],
      ['mangle', 'FORWARD'],
      ['filter', 'FORWARD'],
    ] as const),
    ...([
      ['filter', 'INPUT'],
      ['filter', 'OUTPUT'],
      ['mangle', 'POSTROUTING'],
    ] as const),
  ]);
  const target = (deeper: readonly string[]) =>
    pick(random, [
      '-j ACCEPT',
      '-j DROP',
      '-j RETURN',
      ...deeper.flatMap((to) => [`-j ${to}`, `-g ${to}`]),
    ]);
  const inside = (chain: string, deeper: readonly string[]) =>
    times(
      1 + random(4),
      () => `${program} -t ${table} -A ${chain} ${iptablesMatch(random, hook)} ${target(deeper)}`,
    );
  const policy = table === 'filter' && random(3) === 0 ? [`${program} -P ${hook} DROP`] : [];
  return [
    `${program} -t ${table} -N A`,
    `${program} -t ${table} -N B`,
    ...inside('B', []),
    ...inside('A', ['B']),
    ...inside(hook, ['A', 'B']),
    ...policy,
  ].join('\n');
}
