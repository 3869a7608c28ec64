/** Which rules and policies drop which of the overlay's packets. */
import { type Flow, flowsOf, type Place, type Stop, strangerTo } from './flows.js';
import type { Base, Chain, State, Table } from './model.js';
import { type Drop, type Outcome, walk } from './walk.js';

export interface Hit {
  readonly drop: Drop;
  readonly flow: Flow;
}

/** A rule or a policy, and what meets it. */
export interface Dropper {
  readonly drop: Drop;
  readonly flows: readonly Flow[];
}

export interface Judged {
  readonly flows: readonly Flow[];
  /** What is surely dropped. */
  readonly sure: readonly Dropper[];
  /** Rules about our packets that drop some of them, by a question that we cannot answer. */
  readonly maybe: readonly Dropper[];
}

/** conntrack's own place in prerouting and output (NF_IP_PRI_CONNTRACK). */
const CONNTRACK = -200;

export function judgeTables(tables: readonly Table[], place: Place): Judged {
  const flows = flowsOf(place);
  const bases = basesOf(tables);
  const [sure, maybe]: [Hit[], Hit[]] = [[], []];
  for (const flow of flows) {
    for (const outcome of follow(flow, bases, place.subject.device)) {
      if (outcome.sure !== null) sure.push({ drop: outcome.sure, flow });
      else for (const drop of outcome.drops) if (drop.isOurs) maybe.push({ drop, flow });
    }
  }
  const surely = new Set(sure.map(({ drop }) => keyOfDrop(drop)));
  return {
    flows,
    sure: grouped(sure),
    maybe: grouped(maybe.filter(({ drop }) => !surely.has(keyOfDrop(drop)))),
  };
}

export interface Placed {
  readonly table: Table;
  readonly chain: Chain;
  readonly base: Base;
}

/** The chains that see packets by themselves, in the kernel's order. */
export function basesOf(tables: readonly Table[]): Placed[] {
  const bases = tables.flatMap((table) =>
    [...table.chains.values()].flatMap((chain) =>
      chain.base === undefined ? [] : [{ table, chain, base: chain.base }],
    ),
  );
  return bases.sort((a, b) => a.base.priority - b.base.priority);
}

/**
 * What each chain of each hook makes of it, as if those before had let it pass: a drop in one is no
 * reason not to name the next.
 */
export function follow(flow: Flow, bases: readonly Placed[], device: string | null): Outcome[] {
  const outcomes: Outcome[] = [];
  const [first] = flow.stops;
  let known = { state: first!.packet.state, mark: first!.packet.mark };
  for (const stop of flow.stops) {
    for (const { table, chain, base } of bases) {
      if (!sees(base, stop)) continue;
      const real = { ...stop.packet, ...known };
      const packet = { ...real, state: stateAt(base, real.state) };
      const outcome = walk(table, chain, packet, strangerTo(packet, flow.kind, device));
      outcomes.push(outcome);
      const { state, mark } = outcome.packet;
      known = { mark, state: state === packet.state ? real.state : state };
    }
  }
  return outcomes;
}

function sees(base: Base, { hook, device }: Stop): boolean {
  if (base.hook !== hook) return false;
  const isOfDevice = hook === 'ingress' || hook === 'egress';
  return !isOfDevice || (device !== undefined && base.devices.includes(device));
}

/** Before conntrack has seen a packet, rules take it for invalid. */
function stateAt({ hook, priority }: Base, state: State | undefined): State | undefined {
  if (state === 'untracked') return state;
  if (hook === 'ingress') return 'invalid';
  if (hook !== 'prerouting' && hook !== 'output') return state;
  if (priority === CONNTRACK) return undefined;
  return priority < CONNTRACK ? 'invalid' : state;
}

/** The same for the same rule in each look. */
export function keyOfDrop({ table, chain, rule }: Drop): string {
  const which = rule === null ? 'policy' : (rule.text ?? `handle ${rule.handle}`);
  return `${table.program} ${table.family} ${table.name} ${chain.name} ${which}`;
}

function grouped(hits: readonly Hit[]): Dropper[] {
  const groups = new Map<string, { drop: Drop; flows: Flow[] }>();
  for (const { drop, flow } of hits) {
    const key = keyOfDrop(drop);
    const group = groups.get(key) ?? { drop, flows: [] };
    if (!group.flows.includes(flow)) group.flows.push(flow);
    groups.set(key, group);
  }
  return [...groups.values()];
}
