import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { requestOf, wantedOf } from '../../../src/cli/capture/request.js';
import { parseFlags, UsageError } from '../../../src/cli/flags.js';
import { CAPTURE } from '../../../src/cli/manual/capture.js';
import { flagsOf } from '../../../src/cli/manual/command.js';
import { readRequest } from '../../../src/control/daemon/capture-request.js';
import { Drop } from '../../../src/dataplane/forward/drops.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const read = (...args: string[]) => parseFlags(flagsOf(CAPTURE), args);
const filterOf = (...args: string[]) => requestOf(read(...args), 1).filter;

describe('flags of weft capture', () => {
  it('without any: all packets, whole, at a rate that traffic does not notice', () => {
    const { filter, rate } = requestOf(read(), 7);
    assert.equal(rate, 1_000_000);
    assert.deepEqual(JSON.parse(JSON.stringify(filter)), {
      ...{ inner: true, outer: true, inbound: true, outbound: true, dropsOnly: false },
      ...{ snap: 65_535, limited: true },
    });
  });

  it('make a request that a weft takes', () => {
    const all = [
      ...['-what', 'inner', '-direction', 'in', '-reason', 'foreign_vni', '-peer', '192.168.56.12'],
      ...['-net', '10.1.2.0/24', '-proto', 'udp', '-port', '53', '-snap', '96', '-rate', '0'],
    ];
    const request = requestOf(read(...all), 7);
    assert.deepEqual(request.filter, {
      ...{ inner: true, outer: false, inbound: true, outbound: false, dropsOnly: true },
      ...{ reason: Drop.foreign_vni, peer: parseAddress('192.168.56.12'), protocol: 17, port: 53 },
      ...{ network: { address: parseAddress('10.1.2.0'), length: 24 }, snap: 96, limited: false },
    });
    assert.deepEqual(readRequest(JSON.stringify(request)), request);
    assert.equal(filterOf('-reason', 'any').reason, undefined);
    assert.equal(filterOf('-reason=any').dropsOnly, true);
    assert.equal(filterOf('-proto', '47').protocol, 47);
    assert.deepEqual(filterOf('-host', '10.1.2.3').network, {
      address: parseAddress('10.1.2.3'),
      length: 32,
    });
  });

  it('that cannot be meant are refused by name', () => {
    const cases: readonly (readonly [string[], RegExp])[] = [
      [['-what', 'all'], /-what "all" is none of inner, outer, both/],
      [['-direction', 'up'], /-direction "up"/],
      [['-reason', 'foreign_vin'], /no reason of a drop; did you mean foreign_vni\?/],
      [['-reason', ''], /-reason "" is no reason/],
      [['-peer', '1.2.3'], /-peer 1\.2\.3 is no IPv4 address/],
      [['-net', '10.0.0.0'], /-net 10\.0\.0\.0 is no IPv4 prefix/],
      [['-net', '10.0.0.0/33'], /-net 10\.0\.0\.0\/33/],
      [['-net', '10.0.0.0/8', '-host', '10.1.1.1'], /-host and -net/],
      [['-proto', 'sctp'], /-proto sctp/],
      [['-proto', '256'], /-proto 256/],
      [['-port', '70000'], /-port 70000 is not within 0 and 65535/],
      [['-snap', '-1'], /-snap -1/],
      [['-rate', '1001'], /-rate 1001 is not within 0 and 1000/],
    ];
    for (const [args, said] of cases) {
      assert.throws(
        () => requestOf(read(...args), 1),
        (error) => error instanceof UsageError && said.test(error.message),
        args.join(' '),
      );
    }
  });

  it('say where packets go: lines on a terminal, else pcapng', () => {
    const where = (isTerminal: boolean, ...args: string[]) => {
      const { file, asText } = wantedOf(read(...args), isTerminal);
      return [file, asText];
    };
    assert.deepEqual(where(true), ['-', true]);
    assert.deepEqual(where(false), ['-', false]);
    assert.deepEqual(where(true, '-w', 'x.pcapng'), ['x.pcapng', false]);
    assert.deepEqual(where(false, '-text'), ['-', true]);
    assert.deepEqual(where(false, '-w', '-'), ['-', false]);
    const ring = wantedOf(read('-w', 'x', '-ring', '3', '-size', '5'), false);
    assert.deepEqual([ring.files, ring.fileBytes], [3, 5_000_000]);
    const cases: readonly (readonly [boolean, string[], RegExp])[] = [
      [true, ['-w', '-'], /standard output is a terminal/],
      [true, ['-text=false'], /standard output is a terminal/],
      [false, ['-w', ''], /-w needs the name/],
      [false, ['-ring', '3'], /-ring is for pcapng files/],
      [false, ['-ring', '3', '-w', 'x', '-text'], /-ring is for pcapng files/],
      [false, ['-size', '3'], /-size goes with -ring/],
      [false, ['-ring', '3', '-w', 'x', '-size', '0'], /no room/],
      [false, ['-count', '-2'], /-count -2/],
    ];
    for (const [isTerminal, args, said] of cases) {
      assert.throws(() => wantedOf(read(...args), isTerminal), said, args.join(' '));
    }
  });
});
