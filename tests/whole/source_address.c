/* Loaded into a node (LD_PRELOAD): its connections come from the loopback address in SOURCE_ADDRESS. The venue counts
 * request weight by address, and each node of a deployment has a machine, and so an address, of its own. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int fd, const struct sockaddr *to, socklen_t length) {
  static int (*real)(int, const struct sockaddr *, socklen_t);
  if (!real) real = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
  const char *source = getenv("SOURCE_ADDRESS");
  struct sockaddr_in from = {.sin_family = AF_INET};
  /* A socket that has an address keeps it: then bind fails, which changes nothing. */
  if (source && to->sa_family == AF_INET && inet_pton(AF_INET, source, &from.sin_addr) == 1) {
    int one = 1;
    /* The port is chosen at connect, by both ends. */
    setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
    bind(fd, (struct sockaddr *)&from, sizeof from);
  }
  return real(fd, to, length);
}
