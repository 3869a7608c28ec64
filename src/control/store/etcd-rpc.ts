/** etcd's calls: etcd3's clients and its description of the messages, on our own connection. */
import { createRequire } from 'node:module';
import { loadSync } from '@grpc/proto-loader';
// Without what etcd3 connects with, which takes as much memory as all the rest of weft.
import { KVClient, LeaseClient, MaintenanceClient, WatchClient } from 'etcd3/lib/rpc.js';
import type { GrpcStream } from './grpc.js';
import type { Method } from './grpc-call.js';

export interface EtcdClient {
  readonly kv: KVClient;
  readonly leaseClient: LeaseClient;
  readonly watchClient: WatchClient;
  readonly maintenance: MaintenanceClient;
}

export interface Caller {
  unary(method: Method, request: object): Promise<object>;
  stream(method: Method): Promise<GrpcStream>;
}

const { resolve } = createRequire(import.meta.url);

/** By `Service.call`: `KV.range`. */
const METHODS: ReadonlyMap<string, Method> = loadMethods();

export const AUTHENTICATE = methodOf('Auth', 'authenticate');

export function clientOn(caller: Caller): EtcdClient {
  const callable: ConstructorParameters<typeof KVClient>[0] = {
    exec: async <T>(service: string, call: string, request: unknown) =>
      (await caller.unary(methodOf(service, call), request as object)) as T,
    // A streaming call is named when it is made: `client.watch(…)`.
    withConnection: async (service, make) => {
      const streams: Record<string, GrpcStream> = {};
      const [name] = Object.keys(STREAMS).filter((call) => METHODS.has(`${service}.${call}`));
      if (name === undefined) throw new Error(`${service} has no streaming call`);
      streams[name] = await caller.stream(methodOf(service, name));
      const client = { [name]: () => streams[name] };
      type Given = Parameters<typeof make>[0];
      return make({ resource: undefined, client, metadata: {} } as unknown as Given);
    },
    markFailed() {},
    callOptionsFactory: undefined,
  };
  return {
    kv: new KVClient(callable),
    leaseClient: new LeaseClient(callable),
    watchClient: new WatchClient(callable),
    maintenance: new MaintenanceClient(callable),
  };
}

const STREAMS = { watch: true, leaseKeepAlive: true };

function methodOf(service: string, call: string): Method {
  const method = METHODS.get(`${service}.${call}`);
  if (method === undefined) throw new Error(`etcd has no call ${service}.${call}`);
  return method;
}

function loadMethods(): Map<string, Method> {
  const methods = new Map<string, Method>();
  const loaded = loadSync(resolve('etcd3/proto/rpc.proto'), {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  for (const [name, definition] of Object.entries(loaded)) {
    if ('format' in definition) continue;
    const service = name.slice(name.lastIndexOf('.') + 1);
    for (const [call, method] of Object.entries(definition)) {
      methods.set(`${service}.${call.charAt(0).toLowerCase()}${call.slice(1)}`, method);
    }
  }
  return methods;
}
