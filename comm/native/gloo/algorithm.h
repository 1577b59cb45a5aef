// LibTorch comes without Gloo's headers, and its own name these classes by pointers alone: declarations are enough.
#pragma once
