# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154  # checkout, build and work are the driver's
# The parts of .ci/run that need nothing but this machine. Each is a function that fails where it must not pass; its last line is its verdict.

skip_status=77
# A slow machine is no fault.
test_seconds=3600
# Old drivers take seconds to compile a kernel: all random cases run on the newest, in the fresh Debian, and a few of them here, each time
# the device tests run.
few_cases=8
# Contexts of the demo that would take longer are left out: what they show is said already.
demo_seconds=15
# What sanitizers look at is the host's code: of the tests that try many kernels they run the random ones alone, and Mesa compiles kernels
# without optimizing them: with the newest `tune` takes 20 seconds, and not 30.
sanitized_device_tests=(application-device arguments pipeline-cache pipeline-pool plan-memory poorer-devices random repeat tune vk-layer)
sanitized_tools_tests=(vkring-attends vkring-survives)
sanitized_ring_tests=(buffers-sum-3 cache-calls-3 cache-fault-3 cache-storage-3 mpi-comm-3 ring-agree-3 ring-events-3 ring-fault-3 ring-shares-3 ring-start-2 vkring-loses-ranks)
sanitized_fault_tests=(fault-campaign nth-call refusal)
# What depends on the driver and MPI, with this machine's: the newest has all tests. Of forward-cases and
# gradients each case in one form; the others with kernels that Mesa does not optimize, but for those of random.
tests_of_this_machine=(forward-cases host-faults mpi-faults)
unoptimized_tests_of_this_machine=(application-device gradients mpi-comm-3 random ring-start-2 vkring-loses-ranks vkring-stalls)

skip()
{
    say "$*"
    exit "$skip_status"
}

# Runs tests and keeps their results for the sum: results_of NAME BUILD COMMAND... Fails where no test ran
# or all were skipped, too. Tests of one build that run at the same time have logs of their own.
results_of()
{
    local name=$1 log=$2/meson-logs/${log_name:-testlog}.json status=0 sum="0 passed"
    shift 2
    rm -f -- "$log"
    timeout -k 30 "$test_seconds" "$@" || status=$?
    if [[ -s $log ]]; then
        cp -- "$log" "$work/$name.results"
        sum=$("$checkout/scripts/count-tests" "$log")
    fi
    say "$sum"
    [[ $sum != "0 passed"* ]] && return "$status"
}

remove_other_builds()
{
    rm -rf --one-file-system -- "$checkout"/build-ci-*
}

# A folder SOURCE/build-ci-NAME takes the shaders of SOURCE/build, which is up to date: compiling them is a quarter of the work. Ninja knows
# by the log that they are what it would make: in folders side by side the commands are the same.
take_over_shaders()
{
    cp -a -- "${1%/*}"/build/{shaders,.ninja_log} "$1/"
}

# Machine code that tests' kernels were compiled to, for the next run: finding it takes a third of the time. Drivers know by all that makes a
# difference what is theirs; what nobody asks for any more goes with all the rest, once that is much.
most_kept_megabytes=200

lend_kernels()
{
    local name=$1 cache=$2
    if [[ -d $kept/kernels/$name ]]; then
        mkdir -p -- "$cache"
        cp -a -- "$kept/kernels/$name/." "$cache/"
    fi
}

# That there is no room for them decides nothing.
keep_kernels()
{
    local name=$1 cache=$2/mesa_shader_cache new=$kept/kernels/$1.new
    [[ -d $cache ]] || return 0
    rm -rf --one-file-system -- "$new" || return 0
    mkdir -p -- "$new" || return 0
    if (($(du -sm -- "$cache" | cut -f 1) <= most_kept_megabytes)); then
        cp -a -- "$cache" "$new/" || return 0
    fi
    rm -rf --one-file-system -- "$kept/kernels/$name" || return 0
    mv -T -- "$new" "$kept/kernels/$name" || return 0
}

# Tests in the folder `to` find the machine code of kernels that those in `from` compiled, and the other way round.
share_kernels()
{
    local from=$1 to=$2
    mkdir -p -- "$from/cache" "$to"
    ln -s -- "$(realpath --relative-to="$to" -- "$from/cache")" "$to/cache"
}

configure_and_compile()
{
    local folder=$1
    shift
    rm -rf --one-file-system -- "$folder"
    build_checkout
    meson setup "$folder" "$checkout" "$@"
    take_over_shaders "$folder"
    ninja -C "$folder"
    say "compiled"
}

# All tests run in the fresh Debian, where one can be made; here then what depends on this machine.
tests_here()
{
    export VKRING_TEST_CASES=$few_cases
    if ! can_make_fresh_root; then
        results_of tests_here "$build" "$checkout/scripts/test"
        return
    fi
    results_of tests_here "$build" "$checkout/scripts/test" --suite install
    export VKRING_TEST_TURNS=1
    results_of tests_here_few "$build" "$checkout/scripts/test" "${tests_of_this_machine[@]}"
    results_of tests_here_unoptimized "$build" env GALLIVM_PERF=nopt VKRING_TEST_CASES="$((few_cases / 2))" "$checkout/scripts/test" \
        "${unoptimized_tests_of_this_machine[@]}"
}

demo_here()
{
    timeout -k 30 900 "$checkout/scripts/demo" --seconds "$demo_seconds"
}

shaders()
{
    local shader count=0
    build_checkout
    ninja -C "$build" shaders
    for shader in "$build"/shaders/*.spv; do
        spirv-val --target-env vulkan1.3 --scalar-block-layout "$shader"
        count=$((count + 1))
    done
    say "$count variants"
}

# What compiled before on this machine, with the warnings it gave, is not compiled again, if ccache is here.
cached()
{
    if command -v ccache >/dev/null; then
        say "ccache $1"
    else
        say "$1"
    fi
}

# Clang finds all that it warns of before it optimizes.
clang_warnings()
{
    "$checkout/scripts/setup-packages" clang || skip "clang is not here and cannot be installed"
    CC=$(cached clang) configure_and_compile "$checkout/build-ci-clang" -Dwerror=true -Doptimization=0 -Db_ndebug=true
}

reconfigure_and_compile()
{
    local folder=$1
    shift
    say "-- $*"
    meson configure "$folder" "$@"
    ninja -C "$folder"
}

# The build of this checkout, where there is none yet: a warning is an error.
build_strictly()
{
    CC=$(cached gcc) CFLAGS=-Werror build_checkout
}

# The same in a folder of its own, which takes over all that is made: where that was compiled otherwise ninja does it again.
configure_as_build()
{
    local folder=$1
    rm -rf --one-file-system -- "$folder"
    build_strictly
    CC=$(cached gcc) CFLAGS=-Werror meson setup "$folder" "$checkout" "${build_options[@]}"
    { tar -C "$build" --exclude='./meson-*' --exclude=./build.ninja --exclude=./tests/cache -c . || (($? == 1)); } | tar -C "$folder" -x
    ninja -C "$folder"
}

# One folder for all, in an order in which each is little more than linked anew: MPI's absence alone compiles the library again.
builds()
{
    local folder=$checkout/build-ci-gcc off
    "$checkout/scripts/setup-packages" g++ || say "g++ is not here and cannot be installed: no headers as C++"
    configure_as_build "$folder"
    ! command -v g++ || ls "$folder"/tests/install/libheader-*-cpp.a
    reconfigure_and_compile "$folder" -Ddefault_library=static
    results_of static_library "$folder" meson test -C "$folder" --no-rebuild --print-errorlogs --suite install
    meson configure "$folder" -Ddefault_library=shared
    for off in bench=false examples=false tools=false tests=disabled mpi=disabled; do
        reconfigure_and_compile "$folder" -Dbench=true -Dexamples=true -Dtools=true -Dtests=enabled -Dmpi=enabled "-D$off"
    done
    reconfigure_and_compile "$folder" -Dbench=false -Dexamples=false -Dtools=false -Dtests=disabled
    say "compiled"
}

# Where tests run under the sanitizers: on this machine, or in the fresh Debian, whose driver compiles kernels ten times as fast.
choose_sanitized_place()
{
    local status=0
    sanitized_in=() sanitized_root='' sanitized_source=$checkout sanitized_preload=$work/keep_libraries.so
    can_make_fresh_root || return 0
    set +e
    (
        set -e
        prepare_fresh_root
    )
    status=$?
    set -e
    if ((status == 0)); then
        # what is preloaded may have no spaces in its name
        sanitized_in=("${in_fresh_root[@]}") sanitized_root=$fresh_root sanitized_source=$fresh_checkout
        sanitized_preload=/root/keep_libraries.so
    fi
    ((status == 0 || status == skip_status))
}

run_sanitized()
{
    local name=$1 asan_options=$2
    shift 2
    results_of "$name" "$sanitized_root$sanitized_build" "${sanitized_in[@]}" env LC_ALL=C.UTF-8 GALLIVM_PERF=nopt \
        VKRING_TEST_CASES="$((few_cases / 2))" UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        LSAN_OPTIONS="suppressions='$sanitized_source/.ci/leaks-of-others.txt':print_suppressions=0" \
        ASAN_OPTIONS="$asan_options:verify_asan_link_order=0" LD_PRELOAD="$sanitized_preload" \
        meson test -C "$sanitized_build" --no-rebuild --print-errorlogs "$@"
}

# Open MPI and its launcher leak by design, and faults leave behind what may still be in use: those are checked for everything but leaks.
sanitizers()
{
    local status=0 sanitized_build
    prepare_mpirun
    choose_sanitized_place
    [[ -n $sanitized_root ]] || build_checkout
    sanitized_build=$sanitized_source/build-ci-sanitizers
    "${sanitized_in[@]}" meson setup "$sanitized_build" "$sanitized_source" -Db_sanitize=address,undefined -Ddebug=true \
        -Doptimization=1 -Dtests=enabled -Dbench=false -Dexamples=false
    take_over_shaders "$sanitized_root$sanitized_build"
    share_kernels "$sanitized_root$sanitized_source/build/tests" "$sanitized_root$sanitized_build/tests"
    "${sanitized_in[@]}" ninja -C "$sanitized_build"
    "${sanitized_in[@]}" cc -shared -fPIC -o "$sanitized_preload" "$sanitized_source/.ci/keep_libraries.c"
    run_sanitized sanitizers detect_leaks=1 --suite unit || status=$?
    run_sanitized sanitizers_tools detect_leaks=1 "${sanitized_device_tests[@]}" "${sanitized_tools_tests[@]}" || status=$?
    run_sanitized sanitizers_ring detect_leaks=0 "${sanitized_ring_tests[@]}" "${sanitized_fault_tests[@]}" || status=$?
    return "$status"
}
