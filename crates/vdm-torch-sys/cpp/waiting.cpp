// Has a program's threads sleep while they wait for each other, instead of spinning. Only a program that
// refers to vdm_wait_asleep() gets any of this from the archive that this file is linked from.
//
// libtorch's loops run on libgomp's threads. By default one that waits spins for some milliseconds. Where
// another process has the core that the last thread needs, all others spend it on that: two programs on two
// cores take five times as long as one. How to wait libgomp reads from the environment while it is
// loaded, once and for good, which is before main(). So the program starts itself again with the variable
// set, from .preinit_array: that comes before the constructors of all libraries, of which libtorch's
// take a third of a second.

#include <cstring>

extern "C" void vdm_wait_asleep() {}

#if defined(__GLIBC__)
#include <alloca.h>
#include <sys/auxv.h>
#include <unistd.h>

namespace {
bool sets(const char* entry, const char* name) {
  const size_t length = std::strlen(name);
  return std::strncmp(entry, name, length) == 0 && entry[length] == '=';
}

void start_again(int, char** argv, char** environment) {
  size_t count = 0;
  for (; environment[count]; count++) {
    // The user's own choice, or what was set here.
    if (sets(environment[count], "OMP_WAIT_POLICY") || sets(environment[count], "GOMP_SPINCOUNT")) {
      return;
    }
  }
  const auto* program = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  // Without a base the loader itself was started, with the program as its argument.
  if (!program || !getauxval(AT_BASE) || getauxval(AT_SECURE)) return;
  auto** longer = static_cast<char**>(alloca((count + 2) * sizeof(char*)));
  std::memcpy(longer, environment, count * sizeof(char*));
  char setting[] = "OMP_WAIT_POLICY=passive";
  longer[count] = setting;
  longer[count + 1] = nullptr;
  // The same process, with its files and signals. If this fails threads spin, and all else is as well.
  execve(program, argv, longer);
}

__attribute__((section(".preinit_array"), used)) void (*const before_libraries)(int, char**, char**) =
    start_again;
}  // namespace
#endif
