/* SPDX-License-Identifier: MIT */
/* The activations of vkring/feedforward.h, and their derivatives, of four numbers at a time. */

const uint ACTIVATION_NONE = 0, ACTIVATION_RELU = 1, ACTIVATION_GELU = 2, ACTIVATION_GELU_TANH = 3, ACTIVATION_SILU = 4;

const float SQRT_1_2 = 0.70710678118654752;
const float INVERSE_SQRT_2_PI = 0.39894228040143268;
const float TWICE_SQRT_2_PI = 1.59576912160573071; /* 2 · sqrt(2 / pi) */
const float TANH_CUBE = 0.044715;

/* Within 2e-7, after N. Juffa (a polynomial near 0, 1 - exp of one elsewhere); 1 from 4 on. */
vec4 error_function(vec4 x)
{
    vec4 t = min(abs(x), vec4(4)), s = x * x;
    vec4 far = fma(fma(vec4(-1.72853470e-5), t, vec4(3.83197126e-4)), t * t, fma(vec4(-3.88396438e-3), t, vec4(2.42546219e-2)));
    far = fma(far, t, vec4(-1.06777877e-1));
    far = fma(far, t, vec4(-6.34846687e-1));
    far = fma(far, t, vec4(-1.28717512e-1));
    far = 1 - exp(fma(far, t, -t));
    vec4 near = fma(vec4(-5.96761703e-4), s, vec4(4.99119423e-3));
    near = fma(near, s, vec4(-2.67681349e-2));
    near = fma(near, s, vec4(1.12819925e-1));
    near = fma(near, s, vec4(-3.76125336e-1));
    near = fma(near, s, vec4(1.28379166e-1));
    return mix(fma(near, x, x), mix(far, -far, lessThan(x, vec4(0))), greaterThan(t, vec4(0.927734375)));
}

vec4 logistic(vec4 x)
{
    return 1 / (1 + exp(-x));
}

/* Each is t times a gate, whose slope is found with it. */
vec4 activation(vec4 t, out vec4 derivative)
{
    vec4 gate = vec4(1), slope = vec4(0);
    if (ACTIVATION == ACTIVATION_RELU) {
        gate = mix(vec4(0), vec4(1), greaterThan(t, vec4(0)));
    } else if (ACTIVATION == ACTIVATION_GELU) {
        gate = fma(vec4(0.5), error_function(t * SQRT_1_2), vec4(0.5));
        slope = INVERSE_SQRT_2_PI * exp(-0.5 * t * t);
    } else if (ACTIVATION == ACTIVATION_GELU_TANH || ACTIVATION == ACTIVATION_SILU) {
        bool is_silu = ACTIVATION == ACTIVATION_SILU;
        vec4 near = clamp(t, vec4(-16), vec4(16)), s = near * near; /* beyond, gates are 0 or 1 in f32, and cubes may be infinite */
        gate = logistic(is_silu ? t : TWICE_SQRT_2_PI * near * fma(vec4(TANH_CUBE), s, vec4(1)));
        slope = gate * (1 - gate);
        if (!is_silu)
            slope *= TWICE_SQRT_2_PI * fma(vec4(3 * TANH_CUBE), s, vec4(1));
    }
    derivative = fma(t, slope, gate);
    return ACTIVATION == ACTIVATION_RELU ? max(t, vec4(0)) : t * gate;
}
