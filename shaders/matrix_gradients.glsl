/* SPDX-License-Identifier: MIT */
/* Sums of gradients between blocks and dispatches. */

void meet_state(bool continues, bool stores)
{
    if (continues)
        add_state(false);
    if (stores)
        store_state();
}
