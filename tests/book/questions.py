# ruff: noqa: E501 - sentences stand whole, so that they are found
"""Questions of understanding, written from the papers, and the sentences of a chapter that answer each.

A chapter that loses one of these sentences no longer answers its question.
"""

QUESTIONS: dict[str, list[tuple[str, list[str]]]] = {
    "reading-a-gradient/a-gradient-is-a-photograph.md": [
        (
            "A server receives the gradient of one image's loss for a dense ReLU layer with a bias. Which two of its parts does it divide, and for which neurons does that give the image?",
            [
                "The gradient of the weights *is* the image, scaled by one number. The client sends that number too: it is the gradient of the bias.",
                "Where the gradient of the bias is not zero, we call the neuron",
            ],
        ),
        (
            "The gradient is the mean over B images. When does the division give exactly one of them, and what becomes of the factor 1/B?",
            [
                "$i$ is off for an image, its share is zero. If only one image has a share, the mixture is that image.",
                "the mean of their gradients. We write $\\delta_{ij}$ for the error of neuron $i$ for image $\\mathbf{x}_j$. The division cancels the $1/B$, and leaves",
            ],
        ),
        (
            "Why must the scale s of trap weights be below 1, what goes wrong when it is too small and when it is too close to 1, and what must be true of the inputs for the trap to work?",
            [
                "So make the negative weights a little larger than the positive ones, and the inequality",
                "At a small $s$ hardly any image switches a neuron on. The few that do switch on many neurons, and all of these show the same images",
                "At a large $s$ the random spread of the weighted sums outgrows the small negative mean: each neuron fires for many images, and shows a mixture.",
                "This counts on pixels that are never negative.",
            ],
        ),
        (
            "A table prints for 100 images and 1000 neurons: A = 0.149, P = 0.636, R = 0.354. How many neurons are active, how many of them show a single image, how many images are extracted? Why can the second number exceed the third?",
            [
                "the share of neurons whose bias gradient is not zero",
                "the share of *active* neurons that show one image",
                "the share of the mini-batch that some neuron shows, for $B_0$ images",
                "The few that do switch on many neurons, and all of these show the same images",
            ],
        ),
        (
            "Why does the attack report recall beside precision? Give a case in which precision alone misleads.",
            [
                "there are 144 neurons for 3 images. Precision is 0.97 there, and precision alone would call that a perfect attack."
            ],
        ),
        (
            "How does the share of stolen images move with the batch size, with the number of neurons, and when a client averages over several mini-batches?",
            [
                "A client that averages over several mini-batches at the same weights sends one larger batch, too.",
                "Each neuron is one more chance to isolate an image, so recall grows, but less than the neurons do",
                "Large batches and averages lower recall.",
            ],
        ),
        (
            "Does clipping the gradient stop the division? Does differential privacy help if the server itself adds the noise?",
            [
                "it multiplies both parts of the gradient by one",
                "number, and the division cancels it. Where {term}`differential privacy` is left to the *server*, which adds the noise, it comes too late: this server has",
            ],
        ),
        (
            "What does a malicious server gain over one that only reads, in numbers, and what does it risk?",
            [
                "Trap weights read about twice as many. The gain depends on the data",
                "And a client who looks at the weights can notice traps, unless the server hides them.",
            ],
        ),
    ],
    "guessing-from-a-gradient/deep-leakage.md": [
        (
            "What does deep leakage minimise, and over which unknowns?",
            [
                "the server's *dummy* image and label, and $\\theta$ all weights. DLG minimises",
                "It looks for the image whose gradient is the one that it received.",
                "The label is unknown too: it is ten more numbers, whose softmax is the dummy label.",
            ],
        ),
        (
            "Why do ReLU and L-BFGS not go well together in this attack?",
            [
                "The gradient that a client sends contains such steps, so $D$ *jumps* where a unit switches on or off, and",
                "With ReLU they tell a little more than half of it, and the rest are jumps. L-BFGS builds a curvature out of",
            ],
        ),
        (
            "The attack's own loss has become tiny. Is the image found? And if the loss is still high?",
            [
                "Perhaps: it depends on whether other images send the same gradient",
                "A start that **got stuck** has a large loss. A start that found **another image with the same gradient** has a",
                "In between lie runs that were stopped too early.",
            ],
        ),
        (
            "How can the label be read from the gradient, and when does that fail?",
            [
                "A probability lies between 0 and 1, so **only the true class has a negative entry**.",
                "Label smoothing defeats the sign: a model that is surer than 0.91 gets a *positive* entry for the true class.",
                "Noise larger than the gradient of a trained model defeats both.",
                "images its loss is exactly zero, and then it sends nothing that could be read.",
            ],
        ),
        (
            "Name four settings of the network or the batch that stop or weaken this attack, each with its reason.",
            [
                "Max pooling leaves the own loss high: it switches between pixels, a step like that of ReLU.",
                "But most of them are products of few features: they say less than their count, and many images send nearly the same.",
                "An image with a label of its own dominates a row. Two images of one class share it.",
                "Behind seven sigmoids the gradients of two images are equal up to rounding.",
            ],
        ),
        (
            "A table prints an MSE of 35,112 for this attack. Between what is that error, and can it tell how good the picture is? Why may a failing run be the faster one?",
            [
                "They lie between gradients, not between images, so they cannot say how good a picture is.",
                "Its 300 iterations take *less* time on AlexNet, the larger network, which suggests that they ended early.",
            ],
        ),
        (
            "Does a trained network leak more or less than an untrained one? What do we know, for which data, and what depends on the number of iterations?",
            [
                "Training slows the attack down, on these digits.",
                'It saw this on CIFAR-10, and on MNIST no "substantial difference".',
                "Whether training *stops* the attack depends on how long the server is willing to compute.",
            ],
        ),
        (
            "Against whom does noise help if each client adds it, and against whom if it is added to the aggregate? What does this attack cost, compared with one division?",
            [
                "client-level differential privacy stops this attack, with much to spare.",
                "is no defence against the server. If the server adds it after it has received the gradients, it has read them by then.",
                "the attack takes seconds for one start on a small network, where one division takes milliseconds.",
            ],
        ),
    ],
    "split-learning/what-crosses-the-wire.md": [
        (
            "What crosses the wire in split learning, and in which three steps does an adversary turn activations into images, knowing the segment's outputs only?",
            [
                "The owner sends the {term}`activations <activation>` $z$ up, and the server sends their gradient down.",
                "where several owners average their segments, as here, their weights travel too",
                "It is enough to have images of its own, and what the segment makes of them:",
                "No network, and no training. The victims' activations arrive:",
            ],
        ),
        (
            "Three parties hold images: who are they, and what does the adversary have of each?",
            [
                "The *owners* train the network with theirs. The *adversary* has images of its own, and may ask the owners' segment what it makes of them. The *victims* send theirs after the training, one by one: of these the adversary has the activations, and nothing else."
            ],
        ),
        (
            "Why do early cuts leak more than late ones?",
            [
                "An early layer keeps every pixel's place and resolution. Pooling and dense layers throw away: the last one sends 84 numbers for 784 pixels, and 22 dB are left of 59."
            ],
        ),
        (
            "How many images does the adversary need, and why is a poor attack today no protection?",
            [
                "To the network ten images are enough, shown more often. Least squares needs more;",
                "Behind conv1 fewer than 64 images do: neighbouring pixels of a digit are alike, and 30 dB leaves room for an error. Behind pool2 it takes three times as many:",
                "The attacker holds the segment and has no deadline: it can collect more {cite:p}`titcombe2021practical`, so that a poor attack today promises nothing.",
            ],
        ),
        (
            "Behind a late cut, what can still be read: the class or the details? How can one tell the two apart?",
            [
                "Yet the class can be read off behind every layer, and behind relu4 more than four images of five are still recognised.",
                "A classifier that has never seen a reconstruction says how often the **class** can be read off it.",
                "And we ask which of the 288 victims' images it resembles most ({term}`identification`); chance would be right once in 288.",
            ],
        ),
        (
            "What happens when the adversary's own images are of another kind than the victims'?",
            [
                "With photographs the two change places. Least squares falls to 16 dB, and the network keeps 19.",
                "Behind pool2, photographs of other things are enough for either to read nearly every class; behind the dense layers they are not, as the slider shows for the network.",
                "For the network, images like the victims' are worth six decibels more than photographs.",
            ],
        ),
        (
            "Does it matter whether the segment is trained?",
            [
                "The untrained segment gives its images away too, at 32 dB in place of 35, and so does one that was trained on wrong labels.",
                "The filters of a random convolution already keep most of an image. On photographs it helps a little, as",
                "But each segment needs its own decoder.",
            ],
        ),
        (
            "Does the batch size of the training matter for what the decoder shows? Why could one expect not, and when is a difference between two trainings called one?",
            [
                "At test time each image is sent by itself, so that the mini-batch of training mixes nothing, and [we find](zen-section-5.2) no difference of more than half a decibel. Two trainings that differ in nothing but their seed differ by as much, so we call no smaller difference one."
            ],
        ),
    ],
    "split-learning/noise-and-nopeek.md": [
        (
            "Where, when and by whom is noise added to activations, and does the server have to agree?",
            [
                "The owner adds noise to each activation, drawn anew each time:",
                "An owner can add it alone, after training, and need not tell the server.",
                "It takes the server's help, so that the owner can no longer defend itself alone.",
            ],
        ),
        (
            "What does NoPeek minimise, and between which two things is its measure taken?",
            [
                "The owner adds $\\alpha$ times the distance correlation of the mini-batch to its own loss.",
                "\\mathcal{L}_{\\text{owner}} = \\mathcal{L}_{\\text{task}} + \\alpha\\, \\mathrm{dCor}\\bigl(\\mathbf{x}, f_1(\\mathbf{x})\\bigr)",
                "Take the distances between all pairs of images,",
            ],
        ),
        (
            "What does each of the two defences hide: the class or the look of an image? Which would you advise for a disease, which for a face, and what does this chapter find?",
            [
                "So if the class is the secret, as with a disease, neither defence keeps it here. If the single image is, as with a face, noise hides more of it than NoPeek does, as long as each image is sent only once."
            ],
        ),
        (
            "What do noise scales of 0.1, 0.5 and 1 cost, and what do they stop?",
            [
                "So the noise had not destroyed what the activations say of it; it only confused a decoder that was trained without noise.",
                "Noise spoils the pictures of a decoder that has never met it. One that was trained under the noise reads the class again; repeated queries undo much of the noise.",
            ],
        ),
        (
            "A network trained with NoPeek bears less noise. What in the activations goes with that?",
            [
                "Not the spread, and the distance hardly. What shrinks is the number of directions: about eight without NoPeek, about three with α = 1.",
                "Classes then differ along fewer lines, so that there is less to average the noise over. That would explain the price; we have not tested that it is the cause.",
            ],
        ),
        (
            "After NoPeek, noise raises the measured distance correlation in one table. How can that be?",
            [
                "The noise spreads the activations in all directions, and that lifts what chance gives.",
                "After NoPeek, whose activations vary in few directions, that lift can be larger than what the noise takes away: in [the paper's Table 1, measured here](splitnn-table-1), noise then *raises* the number.",
            ],
        ),
        (
            "Is this noise differential privacy? What is missing?",
            [
                "Noise comes with one that is empty at these scales.",
                "It is *local* {term}`differential privacy`, since the owner adds the noise itself. Tanh bounds the distance: 100 activations in $[-1, 1]$ differ by up to 200.",
                "With ε = 200 that factor has 87 digits: it promises nothing.",
            ],
        ),
        (
            "What does an adversary do who knows of the noise, and against which attacks do neither noise nor NoPeek claim to help?",
            [
                "Nothing keeps it from adding such noise to its own activations while it trains ({term}`noise-aware`): then its decoder learns what can be told *in spite of* the noise.",
                "The server takes the mean: of the noise a quarter is left in 16 copies.",
                "Membership inference and white-box inversion are out of its reach, and the paper leaves them out as well (section 3).",
            ],
        ),
    ],
}
