import type { LinkStats, TransportInfo } from "./index.js";

declare global {
  // As the types of Node have it, for a TypeScript that does not know `await using` yet.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/** Events by name, each as the type of its listener. */
export interface EventsMap {
  [event: string]: any;
}

/** Any name, and any arguments. */
export interface DefaultEventsMap {
  [event: string]: (...args: any[]) => void;
}

/** The names of the events in a map. */
export type EventNames<Map extends EventsMap> = keyof Map & (string | symbol);

/** The arguments of an event. */
export type EventParams<Map extends EventsMap, Ev extends EventNames<Map>> = Parameters<Map[Ev]>;

/** What emits typed events without being an `EventEmitter`. */
export interface TypedEventBroadcaster<EmitEvents extends EventsMap> {
  emit<Ev extends EventNames<EmitEvents>>(ev: Ev, ...args: EventParams<EmitEvents, Ev>): boolean;
}

/** What emitters for servers of any kind take. */
export interface CommonEmitterOptions {
  /**
   * Who carries the bytes: connections of the emitter's own (`"native"`), made with the settings of your client, or
   * your client itself (`"client"`). `"auto"` takes its own connections as soon as it is proven that they reach the
   * same Redis, and your client if that cannot be.
   *
   * @default "auto"
   */
  transport?: "auto" | "native" | "client";

  /**
   * How many bytes of messages wait for Redis while it is away. When there are more, the oldest are dropped:
   * `flush()` tells.
   *
   * @default 33554432
   */
  maxBacklogBytes?: number;

  /**
   * The hosts that the emitter's own connections may go to when a cluster (`MOVED`, `CLUSTER SLOTS`) or a sentinel names
   * them: names, ends of names (`"*.example.com"`), addresses and networks (`"10.0.0.0/8"`). What you name yourself is
   * allowed besides. All, unless given.
   */
  allowedHosts?: string[] | string;
}

/** For servers with the classic adapter, and those of `socket.io-redis`: the options of the reference, and ours. */
export interface EmitterOptions extends CommonEmitterOptions {
  /** @default "classic" */
  mode?: "classic";

  /**
   * The prefix of the channels.
   *
   * @default "socket.io"
   */
  key?: string;

  /**
   * The parser for messages sent to Redis.
   *
   * @default msgpack, as `notepack.io` writes it
   */
  parser?: { encode: (msg: any) => any };
}

/** For servers with the sharded adapter, which need Redis 7. */
export interface ShardedEmitterOptions extends CommonEmitterOptions {
  mode: "sharded";

  /**
   * The prefix of the channels.
   *
   * @default "socket.io"
   */
  channelPrefix?: string;

  /**
   * Which rooms have channels of their own: the same as that of the servers.
   *
   * @default "dynamic"
   */
  subscriptionMode?: "static" | "dynamic" | "dynamic-private";
}

/** For servers with the streams adapter: the options that have the same names there have the same values here. */
export interface StreamsEmitterOptions extends CommonEmitterOptions {
  mode: "streams";

  /** @default "socket.io" */
  streamName?: string;

  /**
   * How many streams there are; each namespace has one of them.
   *
   * @default 1
   */
  streamCount?: number;

  /**
   * How many entries a stream keeps, about.
   *
   * @default 10000
   */
  maxLen?: number;

  /**
   * The prefix of the channels, for `serverSideEmit`.
   *
   * @default "socket.io"
   */
  channelPrefix?: string;

  /**
   * Whether those are channels of sharded pub/sub.
   *
   * @default false
   */
  useShardedPubSub?: boolean;

  /**
   * Whether nothing binary is sent: then nothing is searched for it.
   *
   * @default false
   */
  onlyPlaintext?: boolean;
}

export type ClassicEmitterOptions = EmitterOptions;

/** For servers of any kind. */
export type AnyEmitterOptions = EmitterOptions | ShardedEmitterOptions | StreamsEmitterOptions;

/**
 * What has become of messages since the last `flush()`. All emitters of one client share a connection, and these
 * numbers.
 */
export interface FlushResult {
  /** That Redis has answered for. */
  sent: number;
  /** How many subscribers Redis has handed those to, summed up; null for streams, where nobody knows. */
  receivers: number | null;
  /** That Redis has refused. */
  refused: number;
  /** That were lost with the connection, or dropped from a full backlog. Redis may have got the former. */
  lost: number;
  /** That Redis had not answered for when the time was over. */
  pending: number;
}

/** What `flush()` rejects with if something has not reached Redis. */
export interface FlushError extends Error, FlushResult {}

export interface FlushOptions {
  /**
   * How long it may take, in milliseconds; `Infinity` is as long as Redis is away. Without it, it is over when Redis has
   * answered for nothing for 30 seconds.
   */
  timeout?: number;
}

/** Sends to the clients of a cluster of Socket.IO servers from a process that is none of them. */
export declare class Emitter<EmitEvents extends EventsMap = DefaultEventsMap> {
  /** The client that it was made with; null if that was a URL. */
  readonly redisClient: any;
  readonly nsp: string;
  /** The options, with the defaults filled in. */
  readonly opts: AnyEmitterOptions;

  /**
   * @param redisClient - a client of `redis` or `ioredis`, anything else that has `publish()`, or the URL of a Redis
   * @param opts - options
   * @param nsp - the namespace
   * @throws TypeError if an argument cannot be meant
   */
  constructor(redisClient: any, opts?: AnyEmitterOptions, nsp?: string);
  // The last one is what `ConstructorParameters` sees: it has the signature of the reference.
  constructor(redisClient: any, opts?: EmitterOptions, nsp?: string);

  /** Returns an emitter for another namespace, by the same connection: `close()` of one closes the other. */
  of(nsp: string): Emitter<EmitEvents>;

  /**
   * Emits to all clients, and returns true.
   *
   * @throws Error if the name is reserved, an argument cannot be sent, or the emitter is closed; never for Redis' sake
   */
  emit<Ev extends EventNames<EmitEvents>>(ev: Ev, ...args: EventParams<EmitEvents, Ev>): true;

  /** Targets rooms. */
  to(room: string | string[]): BroadcastOperator<EmitEvents>;

  /** Targets rooms. */
  in(room: string | string[]): BroadcastOperator<EmitEvents>;

  /** Leaves rooms out. */
  except(room: string | string[]): BroadcastOperator<EmitEvents>;

  /** For what may be lost if a client is not ready for it. */
  get volatile(): BroadcastOperator<EmitEvents>;

  /** Says whether what is sent is to be compressed. */
  compress(compress: boolean): BroadcastOperator<EmitEvents>;

  /** Makes sockets join rooms. */
  socketsJoin(rooms: string | string[]): void;

  /** Makes sockets leave rooms. */
  socketsLeave(rooms: string | string[]): void;

  /** Makes sockets disconnect; with `close`, their underlying connections too. */
  disconnectSockets(close?: boolean): void;

  /** Sends an event to the servers, which hear it by `io.on()`. */
  serverSideEmit(...args: any[]): void;

  /** Who carries the bytes, and why. */
  get transport(): TransportInfo;

  /** The counters of the connection, which all emitters of a client share; null once this one is closed. */
  stats(): LinkStats | null;

  /**
   * Resolves when Redis has answered for everything that was emitted before. Rejects with a `FlushError` if something
   * of it has not reached Redis, or the time is over; each loss is told at least once. What is emitted meanwhile waits
   * for it.
   */
  flush(options?: FlushOptions): Promise<FlushResult>;

  /**
   * The same, and ends the emitter's own connections. Your client stays as it is. Called again, it returns the same
   * promise.
   */
  close(options?: FlushOptions): Promise<FlushResult>;

  /** `close()`, for `await using`. Where Node has it: from 18.18 on. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The names of events that cannot be emitted. */
export declare const RESERVED_EVENTS: ReadonlySet<string | Symbol>;

/** Whom an emitter sends to. Each call makes another one. */
export declare class BroadcastOperator<
  EmitEvents extends EventsMap = DefaultEventsMap,
> implements TypedEventBroadcaster<EmitEvents> {
  private readonly redisClient: any;
  private readonly broadcastOptions: any;
  private readonly rooms: Set<string>;
  private readonly exceptRooms: Set<string>;
  private readonly flags: any;

  /** Emitters make them. By hand it takes what that of the reference takes. */
  constructor(
    redisClient: any,
    broadcastOptions: {
      nsp: string;
      broadcastChannel: string;
      requestChannel: string;
      parser: { encode: (msg: any) => any };
    },
    rooms?: Set<string>,
    exceptRooms?: Set<string>,
    flags?: { volatile?: boolean; compress?: boolean },
  );

  /** Targets rooms. */
  to(room: string | string[]): BroadcastOperator<EmitEvents>;

  /** Targets rooms. */
  in(room: string | string[]): BroadcastOperator<EmitEvents>;

  /** Leaves rooms out. */
  except(room: string | string[]): BroadcastOperator<EmitEvents>;

  /** Says whether what is sent is to be compressed. */
  compress(compress: boolean): BroadcastOperator<EmitEvents>;

  /** For what may be lost if a client is not ready for it. */
  get volatile(): BroadcastOperator<EmitEvents>;

  /** Emits to the clients, and returns true. */
  emit<Ev extends EventNames<EmitEvents>>(ev: Ev, ...args: EventParams<EmitEvents, Ev>): true;

  /** Makes sockets join rooms. */
  socketsJoin(rooms: string | string[]): void;

  /** Makes sockets leave rooms. */
  socketsLeave(rooms: string | string[]): void;

  /** Makes sockets disconnect; with `close`, their underlying connections too. */
  disconnectSockets(close?: boolean): void;
}
