# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154  # checkout and work are the driver's
# The parts of .ci/run that need a Debian 13, made from nothing: scripts/test and scripts/demo in it, as a newcomer would, the validation layer,
# and the kernels of GPUs by its drivers.

fresh_root=$work/trixie
fresh_checkout="/root/a fresh checkout"
in_fresh_root=("$checkout/.ci/enter-root" "$fresh_root")

can_make_fresh_root()
{
    (($(id -u) == 0)) && unshare --mount --pid --fork true 2>/dev/null
}

make_fresh_root()
{
    can_make_fresh_root || skip "making a Debian 13 needs root, and mounts"
    "$checkout/scripts/setup-packages" debootstrap || skip "debootstrap is not here and cannot be installed"
    debootstrap --variant=minbase trixie "$fresh_root" || skip "debootstrap could not fetch a Debian 13"
    cp -L -- /etc/resolv.conf /etc/hosts "$fresh_root/etc/"
}

install_from_backports()
{
    local sources=$fresh_root/etc/apt/sources.list patient=(--quiet=2 --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3)
    sed -n 's/ trixie / trixie-backports /p' "$sources" >"$sources.d/backports.list"
    "${in_fresh_root[@]}" apt-get "${patient[@]}" update &&
        "${in_fresh_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install --yes --no-install-recommends \
            --target-release trixie-backports "$@" >/dev/null
}

# That folders of other builds come and go meanwhile makes tar end with 1.
copy_checkout()
{
    mkdir -- "$fresh_root$fresh_checkout"
    { tar -C "$checkout" --exclude='./build*' --exclude=./.git -c . || (($? == 1)); } | tar -C "$fresh_root$fresh_checkout" -x
}

# With everything in place the set-up has nothing to say, and nothing is built again.
second_run_does_nothing()
{
    local said
    said=$("${in_fresh_root[@]}" "$fresh_checkout/scripts/setup-packages" && "${in_fresh_root[@]}" ninja -C "$fresh_checkout/build")
    say "$said"
    [[ $said == *"no work to do"* && $said != *Installing* ]]
}

fill_fresh_root()
{
    if [[ -d $fresh_root$fresh_checkout ]]; then
        return
    fi
    make_fresh_root
    # Python's libraries are what plots and comparisons need: without them their tests have nothing to do.
    install_from_backports mesa-vulkan-drivers python3-matplotlib python3-numpy ||
        skip "Mesa could not be fetched from Debian 13's backports"
    copy_checkout
    "${in_fresh_root[@]}" "$fresh_checkout/scripts/test" --list
    lend_kernels trixie "$fresh_root$fresh_checkout/build/tests/cache"
}

# Once for all parts, with everything built: a lane waits for the other one that is at it.
prepare_fresh_root()
{
    (
        flock 9
        fill_fresh_root 9>&-
    ) 9>"$work/trixie.lock"
}

# Tests that need nothing say here what they say under the sanitizers; those of the device run under the validation layer, and those that start ranks
# are a part of their own.
fresh_debian()
{
    prepare_fresh_root
    results_of fresh_debian "$fresh_root$fresh_checkout/build" "${in_fresh_root[@]}" "$fresh_checkout/scripts/test" --no-suite unit \
        --no-suite device --no-suite ring
    second_run_does_nothing
    timeout -k 30 900 "${in_fresh_root[@]}" "$fresh_checkout/scripts/demo" --seconds "$demo_seconds"
}

# Tests of a suite that has a part of its own, with what the environment says beside; other lanes may run others of the same build.
test_suite_in_fresh_root()
{
    local part=$1 suite=$2
    shift 2
    prepare_fresh_root
    log_name=$part results_of "$part" "$fresh_root$fresh_checkout/build" "${in_fresh_root[@]}" env "$@" meson test \
        -C "$fresh_checkout/build" --no-rebuild --print-errorlogs --logbase "$part" --suite "$suite"
}

fresh_ring()
{
    test_suite_in_fresh_root fresh_ring ring
}

# The tests count the layer's messages and fail on any. The newest driver compiles kernels soonest, and the newest layer sees most. It sees no
# machine code: Mesa optimizes the kernels of random alone.
validation()
{
    if can_make_fresh_root; then
        test_suite_in_fresh_root validation device VKRING_TEST_VALIDATION=1 GALLIVM_PERF=nopt
    else
        VKRING_TEST_VALIDATION=1 VKRING_TEST_CASES=$few_cases results_of validation "$build" "$checkout/scripts/test" --suite device
    fi
}

# What was built for Intel's driver stays on this machine.
driver_farm()
{
    local shim=.cache/vkring/libintel_noop_drm_shim.so status=0
    prepare_fresh_root
    install_from_backports mesa-drm-shim || skip "mesa-drm-shim could not be fetched from Debian 13's backports"
    mkdir -p -- "$fresh_root/root/${shim%/*}" "$kept/trixie"
    if [[ -s $kept/trixie/${shim##*/} ]]; then
        cp -- "$kept/trixie/${shim##*/}" "$fresh_root/root/$shim"
    fi
    "${in_fresh_root[@]}" "$fresh_checkout/scripts/driver-farm" --few || status=$?
    if [[ -s $fresh_root/root/$shim ]]; then
        cp -- "$fresh_root/root/$shim" "$kept/trixie/"
    fi
    return "$status"
}
