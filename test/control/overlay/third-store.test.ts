/**
 * A store of a third kind, as one with an object for each host would be: somebody else assigns the
 * subnets, keys are hosts' names, and what a host writes stays. Nothing but the store itself has to
 * know that it is there.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatLeaseValue, parseLeaseValue } from '../../../src/control/overlay/lease-value.js';
import { Overlay } from '../../../src/control/overlay/network.js';
import type { Membership } from '../../../src/control/overlay/peers.js';
import { formatSubnet } from '../../../src/control/overlay/subnet.js';
import {
  type Entry,
  type Following,
  type KeyStore,
  type Listener,
  type Listing,
  type Store,
  StoreUnreachable,
} from '../../../src/control/store/store.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';
import { FakeClock, Lines, seeded, settle } from '../fakes.js';

const ip = (text: string): number => parseAddress(text) as number;

/** Objects by host, each with a subnet from the start and, once the host is up, a value. */
class ObjectStore implements Store {
  readonly description = 'objects';
  readonly network = 'objects of one network';
  readonly configName = 'the network object';
  readonly subnets: Store['subnets'];
  readonly objects: Map<string, Entry>;
  readonly #listeners = new Set<Listener>();
  #revision = 1n;
  away = false;

  constructor(host: string, objects: Map<string, Entry>) {
    this.objects = objects;
    const remedy = (example: string) => `wait until it has one, or write one with ${example}`;
    this.subnets = { kind: 'assigned', ownKey: host, remedy };
  }

  readonly writes: Store['writes'] = {
    kind: 'kept',
    keys: {
      look: async (key) => ({ entry: this.objects.get(key), revision: this.#revision, ttl: 0 }),
      create: async () => assert.fail('an object is there before its host'),
      update: async (key, value, ttl, revision) => {
        if (this.away) throw new StoreUnreachable('objects do not answer');
        assert.equal(ttl, undefined, 'there are no leases');
        if (this.objects.get(key)?.revision !== revision) return undefined;
        return {
          revision: this.assign(key, this.objects.get(key)?.subnet, value),
          lease: 0n,
          ttl: 0,
        };
      },
      remove: async () => assert.fail('a host does not remove its object'),
    } satisfies KeyStore,
  };

  assign(key: string, subnet: string | undefined, value = ''): bigint {
    const entry = { key, value, revision: ++this.#revision, lease: 0n };
    this.objects.set(key, subnet === undefined ? entry : { ...entry, subnet });
    for (const listener of this.#listeners) listener.snapshot(this.#listing());
    return this.#revision;
  }

  #listing(): Listing {
    return { entries: [...this.objects.values()], revision: this.#revision };
  }

  readConfig = async () => '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
  hintForMissingConfig = async () => undefined;
  list = async () => this.#listing();
  close = async () => {};

  follow(listener: Listener): Following {
    this.#listeners.add(listener);
    listener.snapshot(this.#listing());
    return {
      state: { awaySince: undefined, reason: undefined, nextTryAt: undefined, mended: 0 },
      stop: async () => {
        this.#listeners.delete(listener);
      },
    };
  }
}

test('a host takes the subnet that it was given, and writes how it is reached', async () => {
  const store = new ObjectStore('host-a', new Map());
  const clock = new FakeClock();
  const log = new Lines();
  const overlay = new Overlay({ store, clock, random: seeded(1), log });
  const config = await overlay.waitForConfig();
  const join = () => overlay.join(config, { publicIp: ip('192.168.64.3') });
  await assert.rejects(join, /^Error: objects: there is no entry host-a with a subnet; wait until/);

  store.assign('host-a', '10.5.52.0-24');
  const macB = Uint8Array.of(2, 0, 0, 0, 0, 0xb);
  store.assign('host-b', '10.5.72.0-24', formatLeaseValue(ip('192.168.64.4'), 1, macB));
  store.assign('host-c', undefined, 'still without a subnet');
  const own = await join();
  assert.equal(formatSubnet(own.subnet), '10.5.52.0/24');
  assert.equal(own.key, 'host-a');

  const seen: Membership[] = [];
  const lost: string[] = [];
  overlay.follow({
    members: (membership) => seen.push(membership),
    lost: (reason) => lost.push(reason),
  });
  await settle();
  assert.deepEqual(
    seen[0]?.peers.map(({ key, subnet }) => [key, formatSubnet(subnet)]),
    [['host-b', '10.5.72.0/24']],
  );
  assert.equal(overlay.held?.kind, 'reserved');
  assert.equal(overlay.held?.problem?.text, undefined);

  // A move is written; there is nothing to renew, whatever time passes.
  store.away = true;
  overlay.changePublicIp(ip('192.168.64.33'));
  await clock.pass(5_000);
  assert.match(
    overlay.held?.problem?.text ?? '',
    /does not have the public IP 192\.168\.64\.33 yet/,
  );
  store.away = false;
  await clock.pass(60_000);
  const publicIp = () => parseLeaseValue(store.objects.get('host-a')?.value ?? '').publicIp;
  assert.equal(publicIp(), ip('192.168.64.33'));
  assert.equal(store.objects.get('host-a')?.subnet, '10.5.52.0-24');
  await clock.pass(48 * 3_600_000);
  assert.deepEqual(lost, []);

  store.objects.delete('host-a');
  store.assign('host-b', '10.5.72.0-24');
  assert.match(lost.join(), /our lease host-a was removed from the store/);
  await overlay.stop();
});
