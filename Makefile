# For people; CMake does the work. Everything that is built goes under build/.
#
#   make            the program build/vlm and libvlm (static and shared)
#   make deps       install the Debian packages that are missing (the only target that installs any,
#                   with demo, check, check-live and bench, which call it)
#   make demo       build, then show what the embedded model makes of a dozen drawings
#   make check      all tests that need no Python: three builds (plain, ASan + UBSan, TSan) and the fuzz targets
#   make check-live compare with transformers, open_clip and sentence-transformers, in a virtual environment
#   make bench      measure against ONNX Runtime, OpenVINO and PyTorch
#   make embedded   train the embedded model anew (a night)
#   make install    DESTDIR and PREFIX are honoured
#   make clean

PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ_SECONDS ?= 30
CMAKE_FLAGS ?=

MAKEFLAGS += --no-print-directory

.PHONY: all deps demo check check-plain check-asan check-tsan check-fuzz check-live bench embedded install clean

all:
	@command -v cmake >/dev/null || { echo "cmake is missing; 'make deps' installs what the build needs" >&2; exit 1; }
	cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DVLM_TESTS=OFF -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_FLAGS)
	cmake --build build -j $(JOBS)

deps:
	@sh tools/install_deps.sh build

demo: deps
	$(MAKE) all
	sh tools/demo.sh

# Each step writes "passed failed skipped" to build/counts/NAME, so that .ci/run can add them up; a step
# that fails does not keep the next from running, but fails the target at its end.
check:
	@sh tools/install_deps.sh build check
	@rm -rf build/counts
	@failed=; for step in plain asan tsan fuzz; do $(MAKE) check-$$step || failed="$$failed $$step"; done; \
	sh tools/count.sh build/counts; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

check-plain:
	cmake -S . -B build/plain -DCMAKE_BUILD_TYPE=Release $(CMAKE_FLAGS)
	cmake --build build/plain -j $(JOBS)
	sh tools/run_ctest.sh build/plain

# The NEON kernels are cross compiled on their own: the sanitizers would not see them.
check-asan:
	cmake -S . -B build/asan -DCMAKE_BUILD_TYPE=Debug -DVLM_SANITIZE=address,undefined $(CMAKE_FLAGS)
	cmake --build build/asan -j $(JOBS)
	sh tools/run_ctest.sh build/asan -E kernels/neon

# Kernels start no threads, and neither does a failed allocation, of which each is tried: minutes under TSan.
check-tsan:
	cmake -S . -B build/tsan -DCMAKE_BUILD_TYPE=Debug -DVLM_SANITIZE=thread $(CMAKE_FLAGS)
	cmake --build build/tsan -j $(JOBS)
	sh tools/run_ctest.sh build/tsan -E "^(oom|kernels)/"

check-fuzz:
	@mkdir -p build/counts
	sh tests/fuzz/run.sh $(FUZZ_SECONDS)

check-live:
	@sh tools/install_deps.sh build live
	$(MAKE) all
	sh tools/install_venv.sh build/venv tools/requirements-live.txt
	mkdir -p build/counts
	build/venv/bin/python tests/live/run.py --counts build/counts/live

bench:
	@sh tools/install_deps.sh build live
	$(MAKE) all
	sh bench/install_peers.sh
	build/venv-bench/bin/python bench/run.py

embedded:
	sh recipes/embedded-clip/run.sh

install: all
	cmake --install build

clean:
	rm -rf build
