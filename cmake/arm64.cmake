# Toolchain for 64-bit Arm on another Linux machine: Debian's g++-aarch64-linux-gnu, and qemu-user to run the tests.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
# Only header libraries are looked for (FL_INFER_ONLY), and those are the same for each processor.
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE NEVER)
set(FL_MOLD "" CACHE FILEPATH "The cross compiler has its own linker")
