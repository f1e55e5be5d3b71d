export * from "socket.io-redis-native/streams";
