# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the scripts beside this file share. Sourced, never run.

checkout=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$checkout/build
build_options=(-Dmpi=enabled -Dtests=enabled -Dexamples=true)
# A fresh machine has no other locale, and a locale that is set but absent makes apt and perl complain.
export LC_ALL=C.UTF-8

say()
{
    printf '%s\n' "$*"
}

die()
{
    printf '%s: %s\n' "$(basename -- "$0")" "$*" >&2
    exit 1
}

# Runs a command; its output is shown as it comes on a terminal, elsewhere only if it fails, and then its end.
run_quietly()
{
    local log status=0
    if [[ -t 1 ]]; then
        "$@" </dev/null
        return
    fi
    log=$(mktemp)
    "$@" </dev/null >"$log" 2>&1 || status=$?
    if ((status != 0)); then
        tail -n 100 -- "$log" >&2
    fi
    rm -f -- "$log"
    return "$status"
}

# For ranks on this machine alone. Open MPI refuses root and more ranks than cores unless told otherwise, would pin a rank with all its
# driver's threads to one core, and looks for a network: that of libfabric costs each rank a second. The PRTE_ names are those of Open MPI 5.
prepare_mpirun()
{
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
    export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
    export OMPI_MCA_btl=${OMPI_MCA_btl:-^tcp,ofi} OMPI_MCA_mtl=${OMPI_MCA_mtl:-^ofi}
}

# A build folder of another place (a copied checkout) or another Meson cannot be brought up to date: it is configured anew.
configure_build()
{
    local made_for wipe=()
    made_for="$checkout, Meson $(meson --version)"
    if [[ -f $build/build.ninja && $(cat -- "$build/made-for" 2>/dev/null) == "$made_for" ]]; then
        return
    fi
    if [[ -d $build/meson-private ]]; then
        wipe=(--wipe)
    fi
    run_quietly meson setup "${wipe[@]}" "$build" "$checkout" "${build_options[@]}" ||
        die "meson could not configure $build"
    printf '%s\n' "$made_for" >"$build/made-for"
}

# Leaves an up-to-date build in $build; compiles only what changed.
build_checkout()
{
    "$checkout/scripts/setup-packages" || exit 1
    say "Building in $build"
    configure_build
    run_quietly ninja -C "$build" || die "the build failed"
}
