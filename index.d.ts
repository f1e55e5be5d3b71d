import {
  Adapter,
  ClusterAdapter,
  type ClusterMessage,
  type ClusterResponse,
  type Offset,
  type Room,
  type ServerId,
  type SocketId,
} from "socket.io-adapter";

/**
 * `require("socket.io-redis-native")` is a function that has the rest as its properties, `default` among them: so it
 * is what `import createAdapter from` gives with and without `esModuleInterop`, and what `import x = require()` gives.
 */
export = createAdapter;

declare namespace createAdapter {
  export { createAdapter, createAdapter as default, createShardedAdapter, RedisAdapter };
  export type {
    AdapterFactory,
    AdapterStats,
    FactoryEvents,
    FanOutStats,
    Gap,
    LinkOptions,
    LinkStats,
    OldOptions,
    Parser,
    RedisAdapterOptions,
    RedisAddress,
    ShardedRedisAdapter,
    ShardedRedisAdapterOptions,
    TransportInfo,
  };
}

/** Encodes and decodes what goes over Redis, instead of msgpack. */
interface Parser {
  decode: (msg: any) => any;
  encode: (msg: any) => any;
}

/** What all adapters take. */
interface LinkOptions {
  /**
   * How long a request waits for the answers of the other servers, in milliseconds.
   *
   * @default 5000
   */
  requestsTimeout?: number;

  /**
   * Who carries the bytes: connections of the adapter's own (`"native"`), made with the settings of your clients, or
   * your clients themselves (`"client"`). `"auto"` takes its own connections as soon as it is proven that they reach
   * the same Redis, and your clients if that cannot be.
   *
   * @default "auto"
   */
  transport?: "auto" | "native" | "client";

  /**
   * How many bytes of messages wait for Redis while it is away. When there are more, the oldest are dropped, and
   * counted in `stats().dropped`.
   *
   * @default 33554432
   */
  maxBacklogBytes?: number;

  /**
   * How many bytes of received messages wait for a busy event loop. When there are more, the adapter stops reading.
   *
   * @default 33554432
   */
  maxInboxBytes?: number;

  /**
   * The hosts that the adapter's own connections may go to when a cluster (`MOVED`, `CLUSTER SLOTS`) or a sentinel names
   * them: names, ends of names (`"*.example.com"`), addresses and networks (`"10.0.0.0/8"`). What you name yourself is
   * allowed besides. All, unless given.
   */
  allowedHosts?: string[] | string;

  /** Called with each error that the `error` event tells. */
  onError?: (error: Error) => void;

  /**
   * Whether broadcasts to 16 and more sockets of this server are written by a thread of the addon's, instead of by the JS thread.
   * Only plain WebSocket connections over TCP take part, on Linux and macOS: see docs/fan-out.md.
   *
   * @default false
   */
  fanOut?: boolean;
}

/**
 * The first four are required, as in the reference: `createAdapter()` takes a `Partial` of this.
 */
interface RedisAdapterOptions extends LinkOptions {
  /**
   * The prefix of the channels.
   *
   * @default "socket.io"
   */
  key: string;

  /**
   * How long a request waits for the answers of the other servers, in milliseconds.
   *
   * @default 5000
   */
  requestsTimeout: number;

  /**
   * Whether responses go to the requesting server alone, rather than to all.
   *
   * @default false
   */
  publishOnSpecificResponseChannel: boolean;

  /**
   * The parser for messages sent to Redis. With one of your own the work is done in JS, by it.
   *
   * @default msgpack, as `notepack.io` writes it
   */
  parser: Parser;

  /** A client that publishes: part of the form of `socket.io-redis` 5 and 6, see `OldOptions`. */
  pubClient?: any;

  /** A client that receives: the same. */
  subClient?: any;
}

interface ShardedRedisAdapterOptions extends LinkOptions {
  /**
   * The prefix of the channels.
   *
   * @default "socket.io"
   */
  channelPrefix?: string;

  /**
   * Which rooms have channels of their own, that only the servers with sockets in them listen to: none (`"static"`),
   * all but those of single sockets (`"dynamic"`), or all (`"dynamic-private"`). The same on all servers.
   *
   * @default "dynamic"
   */
  subscriptionMode?: "static" | "dynamic" | "dynamic-private";
}

/** Who carries the bytes between this server and Redis. */
interface TransportInfo {
  carrier: "native" | "client";
  /**
   * Whether it is certain that the carrier reaches the same Redis as your clients. Without clients, and with
   * `transport: "native"`: whether own connections have ever been made.
   */
  proven: boolean;
  /** Why it is this carrier. */
  reason: string;
}

/** Counters since the adapter was made, shared by all namespaces of a pair of clients. In messages, unless named otherwise. */
interface LinkStats {
  /** Handed to the connection to Redis. */
  published: number;
  /** That Redis has answered for. */
  acknowledged: number;
  /** How many subscribers Redis has handed those to, summed up. */
  receivers: number;
  /** That Redis has refused. */
  refused: number;
  /** In flight when the connection was lost: Redis may or may not have had them. */
  lostInFlight: number;
  /** Published at the end of an outage before all servers were back: some may not have had them. */
  early: number;
  /** Given up since the backlog was full, or the clients had ended. */
  dropped: number;
  /** Waiting for Redis now. */
  backlog: number;
  /** Not published since they are nested too deep (1024 levels). */
  unencodable: number;
  /** Received, of all kinds. */
  received: number;
  /** Received, and handed to JavaScript. */
  delivered: number;
  /** Received, and dropped since no socket of this server is concerned. */
  ignored: number;
  /** Received, and dropped since this server had sent them. */
  own: number;
  /** Received, and dropped since they make no sense. */
  malformed: number;
  /** How often the connection was lost. */
  outages: number;
  /** Requests that wait for answers now. */
  pendingRequests: number;
  /** Bytes that wait for the event loop now. */
  inboxBytes: number;
}

/** The counters of an adapter. */
interface AdapterStats extends LinkStats {
  /** With the option `fanOut`: what the thread that writes to the sockets does, for all adapters of this JS thread. */
  fanOut?: FanOutStats;
}

/** What becomes of connections with `fanOut`. Counters since the first of these adapters was made. */
interface FanOutStats {
  /** Connections that the thread writes to now. */
  lent: number;
  /**
   * Connections that it does not write to, by the reason: `compressed` (permessage-deflate), `stream` (TLS, or no plain TCP socket),
   * `replaced` (somebody has put methods on the socket), `transport` (no WebSocket as `ws` has it), `closing`, `scarce` (file
   * descriptors), `limit` (65,536 are lent, or the system allows no more), `untested` (writes do not come by the socket's methods).
   */
  refused: Partial<
    Record<
      "compressed" | "stream" | "replaced" | "transport" | "closing" | "scarce" | "limit" | "untested",
      number
    >
  >;
  /** Connections that were given back to Node since file descriptors were scarce. */
  returned: number;
  /** Broadcasts that were written, summed up over the connections. */
  written: number;
  /** How often a connection took no more: Node writes the rest. */
  spilled: number;
  /** How often writing failed: the connection ends. */
  failed: number;
  /** Written by the thread. */
  bytes: number;
}

/** Where a Redis is, in the words of `socket.io-redis` 5 and 6, and in some of `redis` and `ioredis`. */
interface RedisAddress {
  /** @default "127.0.0.1" */
  host?: string;
  /** @default 6379 */
  port?: number | string;
  /** The path of a unix socket, instead of a host and a port. */
  path?: string;
  /** All of it in one; what it says counts. */
  url?: string | URL;
  /** As clients of `redis` have it. */
  socket?: { host?: string; port?: number | string; path?: string; tls?: boolean; [option: string]: any };
  /** Some nodes of a cluster. */
  cluster?: { host?: string; port?: number | string }[];
  /** If it is a function, it is asked at each connect. */
  password?: string | (() => string | Promise<string>);
  /** The older name of `password`. */
  auth_pass?: string | (() => string | Promise<string>);
  /** The ACL user. */
  user?: string;
  /** The same. */
  username?: string;
  /** The number of the database. Pub/sub ignores it. */
  db?: number | string;
  /** Connects with TLS: an object, be it empty, or `true`. */
  tls?:
    | boolean
    | {
        ca?: any;
        cert?: any;
        key?: any;
        servername?: string;
        rejectUnauthorized?: boolean;
        host?: string;
        port?: number | string;
      };
  /** The sentinels that know where the master is, which they call `name`. */
  sentinels?: { host?: string; port?: number | string }[];
  name?: string;
  sentinelUsername?: string;
  sentinelPassword?: string;
  /** As `tls`, for the connections to the sentinels. */
  sentinelTLS?: RedisAddress["tls"];
}

/** The options in the form of `socket.io-redis` 5 and 6: clients, or the address of a Redis, among them. */
interface OldOptions extends Partial<RedisAdapterOptions>, RedisAddress {
  /** A client that publishes. Without the other one and without an address, that is its `duplicate()`. */
  pubClient?: any;
  /** A client that receives. */
  subClient?: any;
  /** A client is not among the options: it is one. */
  publish?: never;
  /** What was meant for `redis` 3. */
  [option: string]: any;
}

/** How long a server did not hear the others, and why: what the event `gap` comes with. */
interface Gap {
  milliseconds: number;
  reason: string;
}

/** What happens to all the namespaces that a factory has made adapters of, told once. */
interface FactoryEvents {
  /** The servers hear each other. */
  on(event: "connect", listener: () => void): this;
  /** They no longer do; or something has failed. */
  on(event: "disconnect" | "error", listener: (error: Error) => void): this;
  once(event: "connect", listener: () => void): this;
  once(event: "disconnect" | "error", listener: (error: Error) => void): this;
  off(event: "connect" | "disconnect" | "error", listener: (...args: any[]) => void): this;
}

/** Makes the adapter of a namespace: what `new Server({ adapter })` and `io.adapter()` take. */
interface AdapterFactory extends FactoryEvents {
  (nsp: any): RedisAdapter;
  /** The clients; where the adapter connects by itself, what emits `connect`, `ready`, `end` and `error` in their place. */
  readonly pubClient: any;
  readonly subClient: any;
  readonly prefix: string;
  readonly requestsTimeout: number;
}

/** The adapter of one namespace. */
declare class RedisAdapter extends Adapter {
  readonly uid: string;
  readonly pubClient: any;
  readonly subClient: any;
  /** The `key` option. */
  readonly prefix: string;
  requestsTimeout: number;
  readonly publishOnSpecificResponseChannel: boolean;
  readonly parser: Parser;
  private readonly channel: string;
  private readonly requestChannel: string;
  private readonly responseChannel: string;
  private readonly specificResponseChannel: string;

  /** Resolves when this server hears the others, for the first time. */
  readonly ready: Promise<void>;

  constructor(nsp: any, address: string | URL | number | OldOptions, opts?: OldOptions);
  // The last one is what `ConstructorParameters` sees.
  constructor(nsp: any, pubClient: any, subClient: any, opts?: Partial<RedisAdapterOptions>);

  /** This server hears the others. */
  on(event: "ready" | "connect", listener: () => void): this;
  /** It does not, or no longer; or something has failed. */
  on(event: "degraded" | "disconnect" | "error", listener: (error: Error) => void): this;
  /** It did not for a while. */
  on(event: "gap", listener: (gap: Gap) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
  once(event: "ready" | "connect", listener: () => void): this;
  once(event: "degraded" | "disconnect" | "error", listener: (error: Error) => void): this;
  once(event: "gap", listener: (gap: Gap) => void): this;
  once(event: string | symbol, listener: (...args: any[]) => void): this;

  /** Who carries the bytes, and why. */
  get transport(): TransportInfo;

  /** The counters; null once the adapter is closed. */
  stats(): AdapterStats | null;

  /**
   * Resolves when every server has worked off what this one has asked for before (`socketsJoin` and the like), and
   * Redis hands over to it what is published to the rooms that its sockets have joined by that. Rejects if one of them
   * does not answer within `requestsTimeout`.
   */
  barrier(): Promise<void>;

  /**
   * Resolves when Redis hands over to this server what is published to the rooms that its sockets have joined by now.
   * Rejects if Redis does not confirm that within `requestsTimeout`.
   */
  subscribed(): Promise<void>;

  /**
   * The names of all rooms of the cluster.
   *
   * Rejects with "timeout reached while waiting for allRooms response" after `requestsTimeout`; the error has what
   * came in `responses`, and `expected`.
   */
  allRooms(): Promise<Set<Room>>;
  /** @deprecated use the promise */
  allRooms(callback: (error: Error | null, rooms?: Room[]) => void): void;

  /**
   * The ids of the sockets of the cluster that are in one of the rooms, or of all.
   *
   * @deprecated use `io.in(rooms).fetchSockets()`
   */
  sockets(rooms?: Set<Room>): Promise<Set<SocketId>>;

  /** @deprecated use `io.in(rooms).fetchSockets()` */
  clients(rooms?: Room[]): Promise<SocketId[]>;
  /** @deprecated use `io.in(rooms).fetchSockets()` */
  clients(rooms: Room[], callback: (error: Error | null, ids?: SocketId[]) => void): void;
  /** @deprecated use `io.fetchSockets()` */
  clients(callback: (error: Error | null, ids?: SocketId[]) => void): void;

  /** @deprecated use `io.in(id).fetchSockets()` */
  clientRooms(id: SocketId): Promise<Room[]>;
  /** @deprecated use `io.in(id).fetchSockets()` */
  clientRooms(id: SocketId, callback: (error: Error | null, rooms?: Room[]) => void): void;

  /**
   * Makes a socket join a room, on whatever server it is. Resolves when it has; rejects if there is no such socket.
   *
   * @deprecated use `io.in(id).socketsJoin(room)`
   */
  remoteJoin(id: SocketId, room: Room): Promise<void>;
  /** @deprecated use `io.in(id).socketsJoin(room)` */
  remoteJoin(id: SocketId, room: Room, callback: (error: Error | null) => void): void;

  /** @deprecated use `io.in(id).socketsLeave(room)` */
  remoteLeave(id: SocketId, room: Room): Promise<void>;
  /** @deprecated use `io.in(id).socketsLeave(room)` */
  remoteLeave(id: SocketId, room: Room, callback: (error: Error | null) => void): void;

  /** @deprecated use `io.in(id).disconnectSockets(close)` */
  remoteDisconnect(id: SocketId, close?: boolean): Promise<void>;
  /** @deprecated use `io.in(id).disconnectSockets(close)` */
  remoteDisconnect(id: SocketId, close: boolean, callback: (error: Error | null) => void): void;
}

/**
 * Returns what `new Server({ adapter })` and `io.adapter()` take: the adapter has connections of its own.
 *
 * @param url - `redis://user:password@host:port/database`, `redis+unix:///path`; or, as `socket.io-redis` had it,
 *   `host:port`, a port, or the path of a unix socket
 * @param opts - options, with what the URL does not say of the connection
 */
declare function createAdapter(url: string | URL | number, opts?: OldOptions): AdapterFactory;

/**
 * The form of `socket.io-redis` 5 and 6: an object that says all. Without any, Redis is on localhost.
 *
 * @param opts - options, with the two clients, or the address of a Redis
 * @throws TypeError if they ask for something that the adapter's own connections do not do
 */
declare function createAdapter(opts?: OldOptions): AdapterFactory;

/**
 * Returns what `new Server({ adapter })` and `io.adapter()` take.
 *
 * @param pubClient - a client of `redis` or `ioredis` that publishes
 * @param subClient - a client that receives; it is put in subscribed state only if it has to carry the bytes
 * @param opts - options
 * @throws TypeError if an argument cannot be meant
 */
declare function createAdapter(
  pubClient: any,
  subClient: any,
  opts?: Partial<RedisAdapterOptions>,
): AdapterFactory;

// The last one is what `Parameters` and `ReturnType` see: it has the signature of the reference.
declare function createAdapter(
  pubClient: any,
  subClient: any,
  opts?: Partial<RedisAdapterOptions>,
): (nsp: any) => RedisAdapter;

/** The sharded adapter of one namespace. */
declare class ShardedRedisAdapter extends ClusterAdapter {
  readonly uid: ServerId;
  readonly pubClient: any;
  readonly subClient: any;
  requestsTimeout: number;
  private readonly opts: ShardedRedisAdapterOptions;
  private readonly channel: string;
  private readonly responseChannel: string;

  /** Resolves when this server hears the others, for the first time. */
  readonly ready: Promise<void>;

  constructor(nsp: any, pubClient: any, subClient: any, opts: ShardedRedisAdapterOptions);

  /** This server hears the others. */
  on(event: "ready" | "connect", listener: () => void): this;
  /** It does not, or no longer; or something has failed. */
  on(event: "degraded" | "disconnect" | "error", listener: (error: Error) => void): this;
  /** It did not for a while. */
  on(event: "gap", listener: (gap: Gap) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
  once(event: "ready" | "connect", listener: () => void): this;
  once(event: "degraded" | "disconnect" | "error", listener: (error: Error) => void): this;
  once(event: "gap", listener: (gap: Gap) => void): this;
  once(event: string | symbol, listener: (...args: any[]) => void): this;

  /** Who carries the bytes, and why. */
  get transport(): TransportInfo;

  /** The counters; null once the adapter is closed. */
  stats(): AdapterStats | null;

  /** As that of `RedisAdapter`. */
  barrier(): Promise<void>;

  /** As that of `RedisAdapter`. */
  subscribed(): Promise<void>;

  /** The names of all rooms of the cluster. */
  allRooms(): Promise<Set<Room>>;

  doPublish(message: ClusterMessage): Promise<Offset>;
  doPublishResponse(requesterUid: ServerId, response: ClusterResponse): Promise<void>;
  serverCount(): Promise<number>;
  close(): Promise<void> | void;
}

/**
 * Returns what `new Server({ adapter })` and `io.adapter()` take, as the next one does: the adapter has connections of its
 * own.
 *
 * @param url - or another address, as for `createAdapter`
 * @param opts - options
 */
declare function createShardedAdapter(
  url: string | URL | number | (RedisAddress & ShardedRedisAdapterOptions & { publish?: never }),
  opts?: ShardedRedisAdapterOptions,
): ((nsp: any) => ShardedRedisAdapter) & FactoryEvents;

/**
 * Returns the same for sharded pub/sub, which needs Redis 7: a message goes to the shard that its channel belongs to,
 * and one for a room, in the dynamic modes, to the servers with sockets in it alone. All servers of a cluster use
 * either this adapter or the other one.
 *
 * @param pubClient - a client of `redis` or `ioredis` that publishes
 * @param subClient - a client that receives
 * @param opts - options
 * @throws TypeError if an argument cannot be meant
 */
declare function createShardedAdapter(
  pubClient: any,
  subClient: any,
  opts?: ShardedRedisAdapterOptions,
): ((nsp: any) => ShardedRedisAdapter) & FactoryEvents;

// For `Parameters` and `ReturnType`, as above.
declare function createShardedAdapter(
  pubClient: any,
  subClient: any,
  opts?: ShardedRedisAdapterOptions,
): (nsp: any) => ShardedRedisAdapter;
