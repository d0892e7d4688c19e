// What single_source.cpp calls in a guest's file.
// SPDX-License-Identifier: MIT
#pragma once

int helper_in_another_file(int x);
