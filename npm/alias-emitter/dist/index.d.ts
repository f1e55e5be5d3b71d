export * from "socket.io-redis-native/emitter";
